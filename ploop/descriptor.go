// SPDX-License-Identifier: AGPL-3.0-only

// Package ploop knows the disks of containers: what DiskDescriptor.xml and the
// images' headers say, and how the ploop tool is called to snapshot, mount,
// unmount, merge and make them. Formats, exit codes and traps are those of
// Virtuozzo 7 (OpenVZ/ploop vz7-u22) and of ploop 9.0.30 where it differs.
//
// It writes to no image and no descriptor itself, never kills the tool, and does
// not know which snapshot belongs to whom: callers name theirs by a UUID.
package ploop

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/regular"
)

const (
	// topGUID names the image that is written to; nullGUID is the parent of a
	// base image. Both are fixed by libploop (TOPDELTA_UUID, NONE_UUID).
	topGUID  = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
	nullGUID = "{00000000-0000-0000-0000-000000000000}"

	// maxChain is libploop's limit for the files of one disk.
	maxChain = 127
	// MaxDescriptor bounds a descriptor that is read: 127 images need 40 KiB.
	MaxDescriptor = 1 << 20

	// SectorSize is the unit of all sizes in descriptors and headers.
	SectorSize = 512
)

// Disk is what a DiskDescriptor.xml says.
type Disk struct {
	// Descriptor is the path of the file that was read.
	Descriptor string
	// Size is the disk's size, Cluster that of a cluster, both in sectors.
	Size, Cluster uint64
	// Images are the files of all snapshots, the base first if the descriptor
	// lists them so.
	Images []Image
	// Shots are the snapshots; one of them is the top.
	Shots []Shot
	// Top is the GUID of the image that is written to.
	Top string
	// Preallocated and Raw tell how the disk was made; the rest is expanding.
	Preallocated, Raw bool
	// KeyID is the encryption key's id, "" for a disk in clear.
	KeyID string
}

// Image is one file of a disk.
type Image struct {
	GUID string
	// File is absolute.
	File string
}

// Shot is one element of the snapshot tree.
type Shot struct {
	GUID, Parent string
	// Temporary marks a snapshot that the next operation merges or drops.
	Temporary bool
}

// ErrDescriptor is wrapped by every error about the content of a descriptor.
var ErrDescriptor = errors.New("not a usable DiskDescriptor.xml")

// xmlDisk has the elements that are read. The root's name is not looked at: it
// is Parallels_disk_image up to vz7-u14 and Virtuozzo_disk_image since.
type xmlDisk struct {
	Size    uint64  `xml:"Disk_Parameters>Disk_size"`
	KeyID   string  `xml:"Disk_Parameters>Encryption>KeyId"`
	Storage []store `xml:"StorageData>Storage"`
	Top     string  `xml:"Snapshots>TopGUID"`
	Shots   []struct {
		GUID      string    `xml:"GUID"`
		Parent    string    `xml:"ParentGUID"`
		Temporary *struct{} `xml:"Temporary"`
	} `xml:"Snapshots>Shot"`
}

type store struct {
	Cluster      uint64 `xml:"Blocksize"`
	Preallocated string `xml:"Preallocated"`
	Images       []struct {
		GUID string `xml:"GUID"`
		Type string `xml:"Type"`
		File string `xml:"File"`
	} `xml:"Image"`
}

// Read reads and checks a descriptor.
func Read(path string) (*Disk, error) {
	f, err := regular.Follow(path)
	if err != nil {
		return nil, fmt.Errorf("read descriptor: %w", err)
	}
	defer f.Close()
	d, err := parse(f, filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	d.Descriptor = path
	return d, nil
}

// parse reads a descriptor that lies in dir.
func parse(r io.Reader, dir string) (*Disk, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxDescriptor+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxDescriptor {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrDescriptor, MaxDescriptor)
	}
	var x xmlDisk
	if err := xml.Unmarshal(data, &x); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptor, err)
	}
	if len(x.Storage) != 1 {
		return nil, fmt.Errorf("%w: %d storages, one is known", ErrDescriptor, len(x.Storage))
	}
	st := x.Storage[0]
	d := &Disk{
		Size: x.Size, Cluster: st.Cluster, Top: guid(x.Top),
		Preallocated: trim(st.Preallocated) == "1",
		KeyID:        trim(x.KeyID),
	}
	if d.Top == "" {
		d.Top = topGUID
	}
	for _, i := range st.Images {
		file := trim(i.File)
		if file == "" {
			return nil, fmt.Errorf("%w: image %s has no file", ErrDescriptor, i.GUID)
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		// libploop writes the type of the whole disk to every image, but only a
		// base can be raw: its deltas are expanding images.
		d.Raw = d.Raw || trim(i.Type) == "Plain"
		d.Images = append(d.Images, Image{guid(i.GUID), filepath.Clean(file)})
	}
	for _, s := range x.Shots {
		d.Shots = append(d.Shots, Shot{guid(s.GUID), guid(s.Parent), s.Temporary != nil})
	}
	if err := d.consistent(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDescriptor, err)
	}
	return d, nil
}

// consistent checks what libploop checks when it loads a descriptor, and that
// the tree is one.
func (d *Disk) consistent() error {
	switch {
	case d.Size == 0:
		return errors.New("no disk size")
	case d.Cluster < 8 || d.Cluster > 1<<17 || d.Cluster&(d.Cluster-1) != 0:
		return fmt.Errorf("cluster of %d sectors", d.Cluster)
	case len(d.Images) == 0:
		return errors.New("no image")
	case len(d.Images) > maxChain:
		return fmt.Errorf("%d images, %d are allowed", len(d.Images), maxChain)
	case len(d.Images) != len(d.Shots):
		return fmt.Errorf("%d images, but %d snapshots", len(d.Images), len(d.Shots))
	}
	seen, files := map[string]bool{}, map[string]bool{}
	for _, i := range d.Images {
		switch {
		case i.GUID == "" || seen[i.GUID]:
			return fmt.Errorf("image GUID %q is empty or there twice", i.GUID)
		case files[i.File]:
			return fmt.Errorf("image %q is there twice", i.File)
		case len(i.File) >= unix.PathMax:
			return fmt.Errorf("image with a name of %d bytes", len(i.File))
		}
		seen[i.GUID], files[i.File] = true, true
	}
	for _, s := range d.Shots {
		if !seen[s.GUID] {
			return fmt.Errorf("snapshot %s has no image", s.GUID)
		}
	}
	_, err := d.Chain()
	return err
}

// Chain returns the images of the top, from the base upwards.
func (d *Disk) Chain() ([]Image, error) {
	var chain []Image
	for at := d.Top; at != nullGUID; {
		if len(chain) == len(d.Images) {
			return nil, errors.New("the snapshots form a circle")
		}
		shot, ok := d.Shot(at)
		if !ok {
			return nil, fmt.Errorf("snapshot %s is missing", at)
		}
		for _, i := range d.Images {
			if i.GUID == at {
				chain = append([]Image{i}, chain...)
			}
		}
		at = shot.Parent
	}
	return chain, nil
}

// Shot finds a snapshot by its GUID, in any spelling.
func (d *Disk) Shot(id string) (Shot, bool) {
	id = guid(id)
	for _, s := range d.Shots {
		if s.GUID == id {
			return s, true
		}
	}
	return Shot{}, false
}

// Files returns every file that belongs to the disk's storage and not to the
// container: all images and what ploop keeps beside the descriptor.
func (d *Disk) Files() []string {
	dir := filepath.Dir(d.Descriptor)
	files := []string{d.Descriptor, d.Descriptor + ".lck", d.Descriptor + ".tmp", d.Descriptor + ".tmp.tmp", filepath.Join(dir, ".statfs")}
	for _, i := range d.Images {
		files = append(files, i.File, i.File+".mnt")
	}
	return files
}

// guid brings a GUID into the form with braces and lower case; "" stays.
func guid(s string) string {
	s = strings.ToLower(strings.Trim(trim(s), "{}"))
	if s == "" {
		return ""
	}
	return "{" + s + "}"
}

func trim(s string) string { return strings.TrimSpace(s) }
