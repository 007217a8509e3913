// SPDX-License-Identifier: AGPL-3.0-only

// Package descriptor reads, changes and writes DiskDescriptor.xml, the list of image files and snapshots of one disk. It
// opens no image, takes no lock, and understands neither volumes nor encrypted disks.
package descriptor

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The two fixed GUIDs.
const (
	TopGUID  = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
	NoParent = "{00000000-0000-0000-0000-000000000000}"
)

// Name is what the file is called beside the image.
const Name = "DiskDescriptor.xml"

// ErrBad says that the file cannot be used as a descriptor.
var ErrBad = errors.New("bad descriptor")

// Image is one image file.
type Image struct {
	GUID string
	File string // absolute
	Raw  bool
}

// Shot is one snapshot; the top of the disk is a shot too.
type Shot struct {
	GUID, Parent string
	Temporary    bool
}

// Descriptor is one disk.
type Descriptor struct {
	Dir          string // files are stored relative to it
	Size         uint64 // sectors
	Cylinders    uint32
	Heads        uint32
	Sectors      uint32
	Blocksize    uint32
	Preallocated bool
	// KeyID is the id of an encryption key that is written down. The images are in clear all the same.
	KeyID  string
	Top    string
	Images []Image
	Shots  []Shot
}

// file mirrors the document.
type file struct {
	Params struct {
		Size         uint64 `xml:"Disk_size"`
		Cylinders    uint32
		Heads        uint32
		Sectors      uint32
		Preallocated int
		KeyID        string `xml:"Encryption>KeyId"`
	} `xml:"Disk_Parameters"`
	Storage []struct {
		Blocksize    uint32
		Preallocated int
		Image        []struct{ GUID, Type, File string }
	} `xml:"StorageData>Storage"`
	Snapshots struct {
		TopGUID string
		Shot    []struct {
			GUID, ParentGUID string
			Temporary        *struct{}
		}
	}
}

// Read loads a descriptor. Errors other than those of the file system wrap ErrBad.
func Read(path string) (*Descriptor, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return Parse(b, filepath.Dir(path))
}

// Parse reads a descriptor that lies in dir.
func Parse(b []byte, dir string) (*Descriptor, error) {
	var f file
	if err := xml.Unmarshal(b, &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBad, err)
	}
	if len(f.Storage) != 1 {
		return nil, fmt.Errorf("%w: %d storages", ErrBad, len(f.Storage))
	}
	s := f.Storage[0]
	d := &Descriptor{
		Dir: dir, Size: f.Params.Size, Cylinders: f.Params.Cylinders, Heads: f.Params.Heads, Sectors: f.Params.Sectors,
		Blocksize: s.Blocksize, Preallocated: s.Preallocated+f.Params.Preallocated > 0, Top: f.Snapshots.TopGUID,
		KeyID: f.Params.KeyID,
	}
	for _, i := range s.Image {
		if i.Type != "Compressed" && i.Type != "Plain" {
			return nil, fmt.Errorf("%w: image type %q", ErrBad, i.Type)
		}
		name := i.File
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		d.Images = append(d.Images, Image{GUID: i.GUID, File: name, Raw: i.Type == "Plain"})
	}
	for _, s := range f.Snapshots.Shot {
		d.Shots = append(d.Shots, Shot{GUID: s.GUID, Parent: s.ParentGUID, Temporary: s.Temporary != nil})
	}
	return d, d.validate()
}

func (d *Descriptor) validate() error {
	switch {
	case len(d.Images) == 0:
		return fmt.Errorf("%w: no images", ErrBad)
	case len(d.Images) != len(d.Shots):
		return fmt.Errorf("%w: %d images, %d snapshots", ErrBad, len(d.Images), len(d.Shots))
	case d.Blocksize == 0:
		return fmt.Errorf("%w: no block size", ErrBad)
	case d.Top == "":
		return fmt.Errorf("%w: no top", ErrBad)
	}
	for _, i := range d.Images {
		if d.Shot(i.GUID) == nil {
			return fmt.Errorf("%w: image %s has no snapshot entry", ErrBad, i.GUID)
		}
	}
	if t := d.Shot(d.Top); t == nil || t.Temporary {
		return fmt.Errorf("%w: top %s", ErrBad, d.Top)
	}
	return nil
}

// Raw says whether the base image is the disk itself.
func (d *Descriptor) Raw() bool {
	for _, i := range d.Images {
		if i.Raw {
			return true
		}
	}
	return false
}

// Image finds the file of a GUID, nil if there is none.
func (d *Descriptor) Image(guid string) *Image {
	for i := range d.Images {
		if strings.EqualFold(d.Images[i].GUID, guid) {
			return &d.Images[i]
		}
	}
	return nil
}

// Shot finds a snapshot, nil if there is none.
func (d *Descriptor) Shot(guid string) *Shot {
	for i := range d.Shots {
		if strings.EqualFold(d.Shots[i].GUID, guid) {
			return &d.Shots[i]
		}
	}
	return nil
}

// Children lists the snapshots that stand on guid, in document order.
func (d *Descriptor) Children(guid string) []string {
	var c []string
	for _, s := range d.Shots {
		if strings.EqualFold(s.Parent, guid) {
			c = append(c, s.GUID)
		}
	}
	return c
}

// Base is the GUID of the bottom image.
func (d *Descriptor) Base() string {
	for _, s := range d.Shots {
		if s.Parent == NoParent {
			return s.GUID
		}
	}
	return ""
}

// Chain lists the images of guid, base first; nil if it does not reach a base.
func (d *Descriptor) Chain(guid string) []Image {
	var c []Image
	for range len(d.Shots) + 1 {
		s, i := d.Shot(guid), d.Image(guid)
		if s == nil || i == nil {
			return nil
		}
		c = append([]Image{*i}, c...)
		if s.Parent == NoParent {
			return c
		}
		guid = s.Parent
	}
	return nil
}
