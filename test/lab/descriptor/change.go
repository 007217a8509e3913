// SPDX-License-Identifier: AGPL-3.0-only

package descriptor

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Why a change can be refused.
var (
	ErrUnknown  = errors.New("no such snapshot")
	ErrChildren = errors.New("it has several children")
	ErrBase     = errors.New("it is the base image")
)

// Rename gives a GUID another name, in images, snapshots and as parent.
func (d *Descriptor) Rename(from, to string) {
	for i := range d.Images {
		if strings.EqualFold(d.Images[i].GUID, from) {
			d.Images[i].GUID = to
		}
	}
	for i := range d.Shots {
		if strings.EqualFold(d.Shots[i].GUID, from) {
			d.Shots[i].GUID = to
		}
		if strings.EqualFold(d.Shots[i].Parent, from) {
			d.Shots[i].Parent = to
		}
	}
	if strings.EqualFold(d.Top, from) {
		d.Top = to
	}
}

// Add appends an image; one that carries the top GUID becomes the top.
func (d *Descriptor) Add(file, guid, parent string) {
	d.Images = append(d.Images, Image{GUID: guid, File: file})
	d.Shots = append(d.Shots, Shot{GUID: guid, Parent: parent})
	if guid == TopGUID {
		d.Top = guid
	}
}

// remove takes one image and its snapshot entry out.
func (d *Descriptor) remove(guid string) {
	for i := range d.Images {
		if strings.EqualFold(d.Images[i].GUID, guid) {
			d.Images = append(d.Images[:i], d.Images[i+1:]...)
			break
		}
	}
	for i := range d.Shots {
		if strings.EqualFold(d.Shots[i].GUID, guid) {
			d.Shots = append(d.Shots[:i], d.Shots[i+1:]...)
			break
		}
	}
}

// Remove takes a snapshot without children out and names its file. If it was the top, its parent becomes the top.
func (d *Descriptor) Remove(guid string) (string, error) {
	s, im := d.Shot(guid), d.Image(guid)
	switch {
	case s == nil || im == nil:
		return "", ErrUnknown
	case len(d.Children(guid)) > 0:
		return "", ErrChildren
	case s.Parent == NoParent:
		return "", ErrBase
	}
	file, parent, top := im.File, s.Parent, strings.EqualFold(guid, d.Top)
	d.remove(guid)
	if top {
		d.Rename(parent, TopGUID)
		d.Top = TopGUID
	}
	return file, nil
}

// Merge lets child take the place of its parent, whose file it keeps, and names the file that is no longer needed. With
// up the child keeps its own file and the parent's is the one to go.
func (d *Descriptor) Merge(child string, up bool) (string, error) {
	s, im := d.Shot(child), d.Image(child)
	switch {
	case s == nil || im == nil:
		return "", ErrUnknown
	case s.Parent == NoParent:
		return "", ErrBase
	case len(d.Children(s.Parent)) > 1:
		return "", ErrChildren
	}
	ps, pi := d.Shot(s.Parent), d.Image(s.Parent)
	if ps == nil || pi == nil {
		return "", ErrUnknown
	}
	gone, kept := im.File, *pi
	if up {
		gone, kept = pi.File, *im
	}
	kept.GUID = s.GUID
	shot := Shot{GUID: s.GUID, Parent: ps.Parent, Temporary: s.Temporary}
	parent := s.Parent
	d.remove(child)
	*d.Image(parent) = kept
	*d.Shot(parent) = shot
	return gone, nil
}

// Marshal gives the document as the tool writes it.
func (d *Descriptor) Marshal() []byte {
	var b strings.Builder
	p := func(indent int, format string, a ...any) {
		b.WriteString(strings.Repeat("  ", indent))
		fmt.Fprintf(&b, format+"\n", a...)
	}
	p(0, `<?xml version="1.0"?>`)
	p(0, "<Virtuozzo_disk_image>")
	p(1, "<Disk_Parameters>")
	p(2, "<Disk_size>%d</Disk_size>", d.Size)
	p(2, "<Cylinders>%d</Cylinders>", d.Cylinders)
	p(2, "<Heads>%d</Heads>", d.Heads)
	p(2, "<Sectors>%d</Sectors>", d.Sectors)
	p(2, "<Padding>0</Padding>")
	if d.KeyID != "" {
		p(2, "<Encryption><KeyId>%s</KeyId></Encryption>", d.KeyID)
	}
	p(1, "</Disk_Parameters>")
	p(1, "<StorageData>")
	p(2, "<Storage>")
	p(3, "<Start>0</Start>")
	p(3, "<End>%d</End>", d.Size)
	p(3, "<Blocksize>%d</Blocksize>", d.Blocksize)
	if d.Preallocated {
		p(3, "<Preallocated>1</Preallocated>")
	}
	for _, i := range d.Images {
		kind := "Compressed"
		if i.Raw {
			kind = "Plain"
		}
		p(3, "<Image>")
		p(4, "<GUID>%s</GUID>", i.GUID)
		p(4, "<Type>%s</Type>", kind)
		p(4, "<File>%s</File>", escape(d.relative(i.File)))
		p(3, "</Image>")
	}
	p(2, "</Storage>")
	p(1, "</StorageData>")
	p(1, "<Snapshots>")
	p(2, "<TopGUID>%s</TopGUID>", d.Top)
	for _, s := range d.Shots {
		p(2, "<Shot>")
		p(3, "<GUID>%s</GUID>", s.GUID)
		p(3, "<ParentGUID>%s</ParentGUID>", s.Parent)
		if s.Temporary {
			p(3, "<Temporary/>")
		}
		p(2, "</Shot>")
	}
	p(1, "</Snapshots>")
	p(0, "</Virtuozzo_disk_image>")
	return []byte(b.String())
}

// relative shortens a path that lies in the descriptor's folder.
func (d *Descriptor) relative(file string) string {
	if r, ok := strings.CutPrefix(file, d.Dir+"/"); ok {
		return r
	}
	return file
}

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func escape(s string) string { return escaper.Replace(s) }

// Store writes the document to path through path.tmp, synced and renamed. A failed write leaves path.tmp behind, as the
// tool does.
func (d *Descriptor) Store(path string) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(d.Marshal())
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
