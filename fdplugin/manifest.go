// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/bareos-contrib/vz7ct/prlctl"
)

// manifest is what a restore must know before the first file. It travels as a
// restore object, and as the first file for catalogues without objects.
type manifest struct {
	// Format is that of this record; a reader refuses a higher one.
	Format int `json:"vz7ct_manifest"`
	// Plugin is the version that wrote it, Job the daemon's name of the job.
	Plugin  string    `json:"plugin"`
	Job     string    `json:"job"`
	Created time.Time `json:"created"`

	UUID string `json:"uuid"`
	CTID string `json:"ctid"`
	Name string `json:"name"`
	// NameBytes is the name if it is no text, which JSON cannot hold.
	NameBytes []byte `json:"name_bytes,omitempty"`
	State     string `json:"state"`
	// Private and Root are the real paths at the time of the backup.
	Private string        `json:"private"`
	Root    string        `json:"root"`
	Disks   manifestDisks `json:"disks"`
	// Selection is a digest of all that decides what is left out.
	Selection string `json:"selection,omitempty"`
	// Config is ve.conf, for a restore that does not select it.
	Config []byte `json:"ve_conf"`

	// jobID is the number of the job that a restore object came from, else 0.
	jobID int
}

// title is what the container is called in messages.
func (m *manifest) title() string { return prlctl.Container{UUID: m.UUID, Name: m.Name}.Title() }

// manifestDisk describes one disk so that it can be made anew.
type manifestDisk struct {
	UUID string `json:"uuid"`
	// Mount is the mount point in the container, "" if it has none.
	Mount string `json:"mount"`
	// Catalogue is the prefix of its names, relative to the container's root.
	Catalogue string `json:"catalogue"`
	// Image is the base image's path relative to the private area, or an
	// absolute path outside it.
	Image string `json:"image"`
	// Size and Cluster are in sectors of 512 bytes.
	Size         uint64 `json:"size_sectors"`
	Cluster      uint64 `json:"cluster_sectors"`
	Version      int    `json:"image_version"`
	Preallocated bool   `json:"preallocated,omitempty"`
	Raw          bool   `json:"raw,omitempty"`
	KeyID        string `json:"encryption_key_id,omitempty"`
	// UsedBytes and UsedInodes are what the file system holds.
	UsedBytes  uint64 `json:"used_bytes"`
	UsedInodes uint64 `json:"used_inodes"`
}

// names are the fields that may hold any byte, which JSON cannot.
func (d *manifestDisk) names() [3]*string { return [3]*string{&d.Mount, &d.Catalogue, &d.Image} }

// nameBytes holds those of the names that are no text.
type nameBytes struct {
	Mount     []byte `json:"mount,omitempty"`
	Catalogue []byte `json:"catalogue,omitempty"`
	Image     []byte `json:"image,omitempty"`
}

func (b *nameBytes) all() [3]*[]byte { return [3]*[]byte{&b.Mount, &b.Catalogue, &b.Image} }

// diskRecord is a disk in the manifest.
type diskRecord struct {
	plainDisk
	Bytes *nameBytes `json:"bytes,omitempty"`
}

type plainDisk manifestDisk

func (d manifestDisk) MarshalJSON() ([]byte, error) {
	r, b := diskRecord{plainDisk: plainDisk(d)}, nameBytes{}
	for i, name := range d.names() {
		if !utf8.ValidString(*name) {
			*b.all()[i], r.Bytes = []byte(*name), &b
		}
	}
	return json.Marshal(r)
}

func (d *manifestDisk) UnmarshalJSON(data []byte) error {
	var r diskRecord
	if err := json.Unmarshal(data, &r); err != nil {
		return err
	}
	*d = manifestDisk(r.plainDisk)
	if r.Bytes == nil {
		return nil
	}
	for i, b := range r.Bytes.all() {
		if len(*b) > 0 {
			*d.names()[i] = string(*b)
		}
	}
	return nil
}

// manifestDisks are the disks of a container. Of a list that is too long no more is
// read than it takes to know that: a disk of three bytes takes some hundred in memory.
type manifestDisks []manifestDisk

func (m *manifestDisks) UnmarshalJSON(data []byte) error {
	*m = nil
	r := json.NewDecoder(bytes.NewReader(data))
	switch t, err := r.Token(); {
	case err != nil:
		return err
	case t == nil:
		return nil
	case t != json.Delim('['):
		return errors.New("disks are no list")
	}
	for r.More() {
		if len(*m) == maxDisks {
			return fmt.Errorf("more than %d disks", maxDisks)
		}
		var d manifestDisk
		if err := r.Decode(&d); err != nil {
			return err
		}
		*m = append(*m, d)
	}
	return nil
}

const manifestFormat = 1

// maxDisks is how many disks a container can have at most.
const maxDisks = 1024

// objectName is the beginning of a restore object's name.
const objectName = "vz7ct-container-"

func (m *manifest) encode() ([]byte, error) {
	m.Format = manifestFormat
	m.keepName()
	data, err := json.MarshalIndent(m, "", "  ")
	if err == nil && len(data) >= maxManifest {
		err = fmt.Errorf("it has %d bytes, a restore takes %d: the container's configuration is too large", len(data), maxManifest)
	}
	if err != nil {
		return nil, fmt.Errorf("write manifest: %w", err)
	}
	return append(data, '\n'), nil
}

// keepName keeps a name that is no text from being changed on its way.
func (m *manifest) keepName() {
	m.NameBytes = nil
	if !utf8.ValidString(m.Name) {
		m.NameBytes = []byte(m.Name)
	}
}

// MaxObject is how long a restore object may be for Bacula not to compress it:
// release 9.6 cannot unpack a compressed one that comes from an SQLite catalogue
// (seen on 9.6.7: "Decompression failed. Len wanted=1716 got=0").
const MaxObject = 1000

// packed marks an object that is compressed by us: base64 of a deflate stream.
const packed = "vz7ct-deflate:"

// encodeObject writes the manifest as a restore object. If there is a limit, 0
// being none, the configuration is left out where it makes the object too long:
// it is among the files, and in the manifest there.
func (m *manifest) encodeObject(limit int) ([]byte, error) {
	whole := *m
	whole.Format = manifestFormat
	whole.keepName()
	data, err := whole.pack()
	if err != nil || limit == 0 || len(data) <= limit {
		return data, err
	}
	whole.Config = nil
	return whole.pack()
}

// pack writes the manifest on one line, compressed if that is long.
func (m *manifest) pack() ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write restore object: %w", err)
	}
	if len(data) <= MaxObject {
		return data, nil
	}
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("write restore object: %w", err)
	}
	_, err = w.Write(data)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("write restore object: %w", err)
	}
	return []byte(packed + base64.StdEncoding.EncodeToString(b.Bytes())), nil
}

// decodeObject reads a restore object.
func decodeObject(data []byte) (*manifest, error) {
	text, ok := strings.CutPrefix(string(data), packed)
	if !ok {
		return decodeManifest(data)
	}
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("restore object: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(raw)), maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("restore object: %w", err)
	}
	return decodeManifest(plain)
}

// maxManifest bounds what is read of a manifest that comes with a restore.
const maxManifest = 4 << 20

// decodeManifest reads a manifest. It comes from a volume and is not trusted:
// every field that will become a path or a figure is judged here.
func decodeManifest(data []byte) (*manifest, error) {
	if len(data) > maxManifest {
		return nil, fmt.Errorf("manifest of %d bytes", len(data))
	}
	var m manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if m.Format < 1 || m.Format > manifestFormat {
		return nil, fmt.Errorf("manifest of format %d: this plugin knows up to %d; restore with the release that made the backup (%q) or a newer one", m.Format, manifestFormat, m.Plugin)
	}
	if len(m.NameBytes) > 0 {
		m.Name, m.NameBytes = string(m.NameBytes), nil
	}
	if id, ok := prlctl.ParseUUID(m.UUID); !ok || id != m.UUID {
		return nil, fmt.Errorf("manifest: %q is no UUID", m.UUID)
	}
	if !prlctl.ValidCTID(m.CTID) {
		return nil, fmt.Errorf("manifest: %q is no container id", m.CTID)
	}
	if len(m.Disks) == 0 || len(m.Disks) > maxDisks {
		return nil, fmt.Errorf("manifest: %d disks", len(m.Disks))
	}
	seen := map[string]bool{}
	for _, d := range m.Disks {
		if err := d.judge(); err != nil {
			return nil, fmt.Errorf("manifest: disk %q: %w", d.UUID, err)
		}
		for _, what := range []string{"uuid " + d.UUID, "catalogue prefix " + d.Catalogue, "image " + d.Image} {
			if seen[what] {
				return nil, fmt.Errorf("manifest: disk %q: another one has the %q", d.UUID, what)
			}
			seen[what] = true
		}
	}
	return &m, nil
}

func (d manifestDisk) judge() error {
	switch id, ok := prlctl.ParseUUID(d.UUID); {
	case !ok || id != d.UUID:
		return fmt.Errorf("no UUID")
	case d.Mount != "" && (!filepath.IsAbs(d.Mount) || filepath.Clean(d.Mount) != d.Mount):
		return fmt.Errorf("mount point %q", d.Mount)
	case d.Catalogue != "" && !relative(d.Catalogue):
		return fmt.Errorf("catalogue prefix %q", d.Catalogue)
	case !imagePath(d.Image):
		return fmt.Errorf("image %q", d.Image)
	case d.UsedBytes > 1<<60:
		return fmt.Errorf("%d bytes in use", d.UsedBytes)
	case d.Size == 0 || d.Size > 1<<40:
		return fmt.Errorf("size of %d sectors", d.Size)
	case d.Cluster > 1<<17 || d.Cluster&(d.Cluster-1) != 0:
		return fmt.Errorf("cluster of %d sectors", d.Cluster)
	case d.Version < 0 || d.Version > 2:
		return fmt.Errorf("image version %d", d.Version)
	}
	return nil
}

// imagePath reports whether p can be that of an image: a file in a directory of its
// own, which is none of ours.
func imagePath(p string) bool {
	if filepath.IsAbs(p) {
		return filepath.Clean(p) == p && filepath.Dir(p) != "/" && p != "/" && !strings.ContainsRune(p, 0)
	}
	first, _, deep := strings.Cut(p, "/")
	return relative(p) && deep && first != ownFolder && first != markName
}

// relative reports whether p is a clean path that stays below where it begins.
func relative(p string) bool {
	return filepath.IsLocal(p) && filepath.Clean(p) == p && p != "." && !strings.ContainsRune(p, 0)
}

// newest chooses of several manifests of one container the one that counts: a
// restore of Full and Incremental delivers one of each, in no certain order. The
// number of the job tells, where it is known; a node's clock may have gone back.
func newest(a, b *manifest) *manifest {
	switch {
	case a == nil:
		return b
	case a.jobID != 0 && b.jobID != 0 && a.jobID != b.jobID:
		if b.jobID > a.jobID {
			return b
		}
		return a
	case b.Created.After(a.Created), b.Created.Equal(a.Created) && len(a.Config) == 0:
		return b
	default:
		return a
	}
}
