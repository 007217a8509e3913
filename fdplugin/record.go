// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/lock"
	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// record says beside a disk's images whose snapshot there is. The journal is on
// the node that has made it; this is for another node, to which the container has
// failed over on shared storage, and for this one if its journals are lost. The
// job holds an flock on it.
type record struct {
	Version   int    `json:"vz7ct_snapshot"`
	Snapshot  string `json:"snapshot"`
	Container string `json:"container"`
	// Journal is the name of the job's journal, Node the node's own name.
	Journal string `json:"journal"`
	Node    string `json:"node"`
	Job     string `json:"job"`
	Started string `json:"started"`
	// Mount is where the snapshot is mounted on that node.
	Mount string `json:"mount,omitempty"`

	path string
}

const (
	recordVersion = 1
	recordPrefix  = ownPrefix + "snapshot-"
	maxRecord     = 64 << 10
)

func recordPath(descriptor, snapshot string) string {
	return filepath.Join(filepath.Dir(descriptor), recordPrefix+snapshot)
}

// write makes the record and locks it. It is on disk when write returns.
func (r record) write(descriptor string) (h *lock.Held, err error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	path := recordPath(descriptor, r.Snapshot)
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("record of the snapshot: %w", err)
	}
	_, err = f.Write(append(data, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		h, err = lock.Exclusive(path+".new", false)
	}
	if err == nil {
		// It is whole, and locked, when it has its name.
		err = errors.Join(os.Rename(path+".new", path), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		_ = h.Release()
		return nil, fmt.Errorf("record of the snapshot: %w", err)
	}
	return h, nil
}

// readRecord reads a record and judges it: what it names is to be taken back.
func readRecord(path string) (record, error) {
	data, err := regular.ReadFile(path, maxRecord)
	if err != nil {
		return record{}, err
	}
	r, err := parseRecord(path, data)
	if err != nil {
		return record{}, fmt.Errorf("%s %w", path, err)
	}
	return r, nil
}

func parseRecord(path string, data []byte) (record, error) {
	r := record{path: path}
	if err := json.Unmarshal(data, &r); err != nil {
		return record{}, fmt.Errorf("is no record: %w", err)
	}
	container, ok1 := prlctl.ParseUUID(r.Container)
	snapshot, ok2 := prlctl.ParseUUID(r.Snapshot)
	switch {
	case r.Version != recordVersion:
		return record{}, fmt.Errorf("has format %d, known is %d", r.Version, recordVersion)
	case !ok1 || !ok2 || container != r.Container || snapshot != r.Snapshot || filepath.Base(path) != recordPrefix+snapshot:
		return record{}, fmt.Errorf("names snapshot %q of container %q", r.Snapshot, r.Container)
	case strings.ContainsAny(r.Journal, "/\x00") || r.Journal == "":
		return record{}, fmt.Errorf("names journal %q", r.Journal)
	}
	return r, nil
}

// mountedIn reports whether the mount that the record names is where a job would have
// mounted this snapshot, and no other one.
func (r record) mountedIn(mounts string) bool {
	return filepath.Clean(r.Mount) == r.Mount && filepath.Dir(r.Mount) == filepath.Clean(mounts) &&
		strings.HasPrefix(filepath.Base(r.Mount), r.Container+"."+r.Snapshot[:8]+".")
}

func (r record) descriptor() string { return filepath.Join(filepath.Dir(r.path), "DiskDescriptor.xml") }

// Recorded reports whether a snapshot of a disk is a job's of ours by the record
// beside its images.
func Recorded(descriptor, snapshot string) bool { return exists(recordPath(descriptor, snapshot)) }

// record writes down beside the images that a snapshot is about to be made.
func (b *backup) record(v *volume, id string) error {
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	h, err := record{
		Version: recordVersion, Snapshot: id, Container: b.container.UUID, Node: host, Job: b.job.Name, Mount: v.dir,
		Journal: strings.TrimSuffix(filepath.Base(b.job.journal.Path()), undo.Suffix), Started: time.Now().Format(time.RFC3339),
	}.write(v.disk.Descriptor)
	if err != nil {
		return err
	}
	b.job.locks = append(b.job.locks, held{recordPath(v.disk.Descriptor, id), h})
	return nil
}

// unrecord removes the record of a snapshot that is not there any more.
func unrecord(descriptor, snapshot string) error {
	for _, end := range []string{"", ".new"} {
		err := os.Remove(recordPath(descriptor, snapshot) + end)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("record of the snapshot: %w", err)
		}
	}
	return nil
}

// claim locks a record that is there; it makes none, as a lock's file is made: an empty
// record would keep jobs from the disk. It returns a *lock.HeldError if the record's
// job lives, or somebody takes its snapshot back.
func (r record) claim() (*os.File, error) {
	f, err := os.OpenFile(r.path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = &lock.HeldError{Path: r.path, By: "job " + text.Name(r.Job) + " on node " + text.Name(r.Node) + ", or by somebody who takes its snapshot back"}
	}
	if err == nil && !exists(r.path) {
		err = os.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// strangers takes back snapshots whose records lie beside images that this node
// has, and whose journals it has not: the job was one of another node, or the
// journals were lost. dirs are directories of disks, as patterns.
func (c Cleaner) strangers(ctx context.Context, dry bool, stuck map[string]error, dirs ...string) error {
	var errs []error
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, recordPrefix+"*[^w]"))
		errs = append(errs, err)
		for _, path := range paths {
			r, err := readRecord(path)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			if err == nil {
				err = c.stranger(ctx, dry, r, stuck)
			}
			if err != nil {
				stuck[filepath.Join(filepath.Dir(path), "DiskDescriptor.xml")] = err
				errs = append(errs, err)
			}
		}
	}
	return errors.Join(errs...)
}

// stranger takes one of them back, unless its job lives or the container is not
// this node's.
func (c Cleaner) stranger(ctx context.Context, dry bool, r record, stuck map[string]error) error {
	if exists(filepath.Join(c.Node.State, "journal", r.Journal+undo.Suffix)) {
		return nil // it is that journal's matter
	}
	f, err := r.claim()
	var live *lock.HeldError
	if errors.As(err, &live) && !c.alone || errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	known, err := c.registered(ctx, r.Container)
	if err != nil || !known {
		return err // of a container of another node, live perhaps, on shared storage
	}
	ours, _, err := c.Node.Containers.Owns(filepath.Dir(filepath.Dir(r.path)))
	if err != nil || !ours {
		return err
	}
	steps := []undo.Step{
		{Do: undo.Mounted, Descriptor: r.descriptor(), Snapshot: r.Snapshot, Dir: r.Mount},
		{Do: undo.MadeDir, Dir: r.Mount},
		{Do: undo.MadeSnapshot, Descriptor: r.descriptor(), Snapshot: r.Snapshot, Container: r.Container}, // and the record
	}
	why, err := c.aboutToStart(steps)
	if err != nil {
		return err
	}
	if !r.mountedIn(c.Node.Mounts) {
		steps = steps[2:]
	}
	if why != "" {
		c.Log.Infof("left for later: snapshot {%s} of %s, of job %s on node %s: %s", r.Snapshot, r.descriptor(), text.Name(r.Job), text.Name(r.Node), why)
		steps, _ = split(steps, beforeStart)
	} else {
		what := "taking it back"
		if dry {
			what = "it would be taken back"
		}
		c.Log.Warnf("job %s of %s on node %s has left snapshot {%s} of %s, and this node has no journal of it: %s",
			text.Name(r.Job), r.Started, text.Name(r.Node), r.Snapshot, r.descriptor(), what)
	}
	if dry {
		_ = block(stuck, steps, errDry)
		return nil
	}
	c.Node.keep(f)
	defer c.Node.keep(nil)
	for _, s := range steps {
		if err := c.undo(ctx, s); err != nil {
			return err
		}
	}
	return nil
}
