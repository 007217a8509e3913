// SPDX-License-Identifier: AGPL-3.0-only

// Package undo is a write-ahead journal of the steps by which a job changes its
// node: a mount directory, a snapshot, a mount, a private area, a container that
// stands still. A step is written
// and synced before it is taken, as data and not as code, so that whoever finds
// the journal of a dead job can take it back.
//
// There is one file per job. Its owner holds an flock on it for as long as it
// lives, and the commands that it starts hold it with him: a sweeper touches only
// what it can lock. The package does not know how a step is taken back, only in
// which order and what is left: undoing must be idempotent, since a crash may come
// between a step and its record.
package undo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Kind says what a step does.
type Kind string

const (
	// MadeDir made the empty directory Dir.
	MadeDir Kind = "mkdir"
	// MadeSnapshot made Snapshot on the disk of Descriptor.
	MadeSnapshot Kind = "snapshot"
	// Mounted mounted the disk of Descriptor at Dir.
	Mounted Kind = "mount"
	// MadeTree made the directory Dir and all that is below it, to become the
	// private area of Container.
	MadeTree Kind = "tree"
	// Replaced is all by which a new private area, made beside Dir, takes the place of
	// that of Container, which was in State; Mark is in the names meanwhile.
	Replaced Kind = "replace"
	// MadeLink made the lock file Dir, as the Python lockfile module does.
	MadeLink Kind = "lockfile"
	// LockedContainer made Virtuozzo's lock file Dir of Container, with Mark in it.
	LockedContainer Kind = "container lock"
	// Frozen made all processes of the control group Dir, those of Container, stand
	// still. It is written after the steps that are taken meanwhile, so that it is
	// undone before them.
	Frozen Kind = "frozen"
)

// Step is one change of the node. Which fields count depends on Do.
type Step struct {
	ID         int    `json:"id"`
	Do         Kind   `json:"do"`
	Dir        string `json:"dir,omitempty"`
	Descriptor string `json:"descriptor,omitempty"`
	Snapshot   string `json:"snapshot,omitempty"`
	Container  string `json:"container,omitempty"`
	// Owner is what .owner said of the container when the step was taken.
	Owner string `json:"owner,omitempty"`
	// State is that of the container when the step was taken, in prlctl's word.
	State string `json:"state,omitempty"`
	// Mark is what a made tree or lock holds as a sign that it is still this job's.
	Mark string `json:"mark,omitempty"`
}

// Head says whose journal it is.
type Head struct {
	Version   int    `json:"vz7ct_journal"`
	Job       string `json:"job"`
	Container string `json:"container"`
	PID       int    `json:"pid"`
	Started   string `json:"started"`
	// Born is when that process was started; Create sets it.
	Born uint64 `json:"born,omitempty"`
}

// version is that of the file format.
const version = 1

// record is one line of the file.
type record struct {
	Head   *Head `json:"head,omitempty"`
	Step   *Step `json:"step,omitempty"`
	Undone int   `json:"undone,omitempty"`
	// Ended: the job has ended with steps pending.
	Ended bool `json:"ended,omitempty"`
}

// Journal is the open journal of one job. It is not safe for concurrent use.
type Journal struct {
	Head Head
	file *os.File
	// lock is the same file, opened once more for the flock alone: see Lock.
	lock    *os.File
	pending []Step
	last    int
	ended   bool
}

// Suffix ends the name of a journal's file.
const Suffix = ".journal"

// Create makes the journal of a job under the name given, in dir.
func Create(dir, name string, head Head) (*Journal, error) {
	head.Version, head.Born = version, born(head.PID)
	path := filepath.Join(dir, name+Suffix)
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return nil, fmt.Errorf("create journal: %w", err)
		}
		j := &Journal{Head: head, file: f}
		// Between these two calls a sweeper may have locked, found empty and
		// removed the file.
		if err := j.hold(func(f *os.File) error { return lock(f, unix.LOCK_EX) }); err != nil {
			j.shut()
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			return nil, fmt.Errorf("lock journal %s: %w", path, err)
		}
		err = j.write(record{Head: &head})
		if err == nil {
			err = syncDir(dir)
		}
		if err != nil {
			j.shut()
			os.Remove(path)
			return nil, fmt.Errorf("begin journal: %w", err)
		}
		return j, nil
	}
}

// hold opens the journal's file once more and locks it there. It returns
// os.ErrNotExist if the file has gone meanwhile.
func (j *Journal) hold(take func(*os.File) error) error {
	var err error
	if j.lock, err = os.OpenFile(j.file.Name(), os.O_RDONLY|unix.O_NOFOLLOW, 0); err != nil {
		return err
	}
	if err := take(j.lock); err != nil {
		return err
	}
	mine, err1 := j.file.Stat()
	locked, err2 := j.lock.Stat()
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	if gone(j.file) || !os.SameFile(mine, locked) {
		return os.ErrNotExist
	}
	return nil
}

// shut closes the files, and so gives up the lock.
func (j *Journal) shut() {
	j.file.Close()
	if j.lock != nil {
		j.lock.Close()
	}
}

// Lock returns the file by which the journal is locked. A command that has it
// open, say as its standard input, keeps sweepers away for as long as it runs,
// even if the job has died: what it still does could not be taken back. It reads
// as if it were empty, and stays the Journal's.
func (j *Journal) Lock() *os.File {
	_, _ = j.lock.Seek(1<<40, io.SeekStart) // behind all that is ever written
	return j.lock
}

// Intend records that s is about to be taken. When it returns, the record is on
// disk; only then may the step be taken.
func (j *Journal) Intend(s Step) error {
	if err := s.judge(); err != nil {
		return fmt.Errorf("journal %s: %w", j.file.Name(), err)
	}
	j.last++
	s.ID = j.last
	if err := j.write(record{Step: &s}); err != nil {
		return err
	}
	j.pending = append(j.pending, s)
	return nil
}

// Undo takes back what is pending, the newest first, by calling take for each
// step. A step whose undo failed stays in the journal, and so do the older steps
// that it rests on, on the same disk or the tree that the disk's images are in:
// they are not tried. One that was taken back is done with, even if that could not
// be recorded: a disk that is full or broken under the journal keeps no snapshot from
// being merged, and what is taken back twice does no harm. Undo returns all that went
// wrong.
func (j *Journal) Undo(take func(Step) error) error {
	return j.UndoOnly(func(Step) bool { return true }, take)
}

// UndoOnly is Undo for the steps that match; the others stay pending.
func (j *Journal) UndoOnly(match func(Step) bool, take func(Step) error) error {
	var errs []error
	var left []Step
	failed := map[string]bool{}
	for i := len(j.pending) - 1; i >= 0; i-- {
		s := j.pending[i]
		if !match(s) || s.Descriptor != "" && failed[s.Descriptor] || holdsImages(s, left) {
			left = append([]Step{s}, left...)
			continue
		}
		if err := take(s); err != nil {
			errs = append(errs, err)
			left = append([]Step{s}, left...)
			failed[s.Descriptor] = true
			continue
		}
		if err := j.write(record{Undone: s.ID}); err != nil {
			errs = append(errs, err)
		}
	}
	j.pending = left
	return errors.Join(errs...)
}

// holdsImages reports whether s is a tree with images that one of the later
// steps, not undone, may still have in use.
func holdsImages(s Step, later []Step) bool {
	for _, l := range later {
		if s.Do == MadeTree && strings.HasPrefix(l.Descriptor, s.Dir+"/") {
			return true
		}
	}
	return false
}

// Forget records that a step needs no undo any more: what it made has become
// permanent, such as the private area of a container that was registered.
func (j *Journal) Forget(match func(Step) bool) error {
	var left []Step
	for _, s := range j.pending {
		if !match(s) {
			left = append(left, s)
			continue
		}
		if err := j.write(record{Undone: s.ID}); err != nil {
			return err
		}
	}
	j.pending = left
	return nil
}

// Pending returns the steps that are not undone, the oldest first.
func (j *Journal) Pending() []Step { return append([]Step(nil), j.pending...) }

// Path returns the file's name, for messages.
func (j *Journal) Path() string { return j.file.Name() }

// Close removes the journal if nothing is pending, and gives up its lock. With
// steps pending the file stays for a sweeper, and says that its job has ended.
func (j *Journal) Close() error {
	defer j.shut()
	if len(j.pending) > 0 {
		if j.ended {
			return nil
		}
		return j.write(record{Ended: true})
	}
	if err := os.Remove(j.file.Name()); err != nil {
		return fmt.Errorf("remove journal: %w", err)
	}
	return syncDir(filepath.Dir(j.file.Name()))
}

// Abandon gives up the lock and leaves the file as it is: whoever looks for what dead
// jobs have left takes it for that of one.
func (j *Journal) Abandon() { j.shut() }

func (j *Journal) write(r record) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.file.Name(), err)
	}
	before, err := j.file.Stat()
	if err != nil {
		return fmt.Errorf("journal %s: %w", j.file.Name(), err)
	}
	if _, err = j.file.Write(append(line, '\n')); err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		// Half a line would spoil the next one, and with it the whole journal.
		return fmt.Errorf("write journal: %w", errors.Join(err, j.file.Truncate(before.Size())))
	}
	return nil
}

// read fills j from the file. A last line that was cut short is no error: its
// step was never taken.
func (j *Journal) read() error {
	data, err := contentOf(j.file)
	if err != nil {
		return err
	}
	whole := data[:bytes.LastIndexByte(data, '\n')+1]
	if len(whole) < len(data) {
		// What is appended later must not run into the piece.
		if err := j.file.Truncate(int64(len(whole))); err != nil {
			return err
		}
	}
	return j.parse(whole)
}

// maxSize bounds a journal: a job has a few steps for each of its disks.
const maxSize = 16 << 20

// contentOf reads a whole journal.
func contentOf(f *os.File) ([]byte, error) {
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxSize+1))
	if err == nil && len(data) > maxSize {
		err = fmt.Errorf("is larger than %d bytes", maxSize)
	}
	return data, err
}

// parse fills j from the whole lines of a file. What this package would not have
// written is an error: whoever undoes it does so as root.
func (j *Journal) parse(whole []byte) error {
	if len(whole) == 0 {
		return nil // its job died before it had begun
	}
	for n, line := range strings.Split(strings.TrimSuffix(string(whole), "\n"), "\n") {
		var r record
		err := json.Unmarshal([]byte(line), &r)
		if err == nil {
			err = j.take(r, n == 0)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n+1, err)
		}
	}
	return nil
}

// take adds what one line says.
func (j *Journal) take(r record, first bool) error {
	switch {
	case first != (r.Head != nil):
		return errors.New("a head that is not at the beginning, or a beginning without one")
	case first && r.Head.Version != version:
		return fmt.Errorf("format %d, known is %d", r.Head.Version, version)
	case first:
		j.Head = *r.Head
	case r.Step != nil:
		if r.Step.ID <= j.last {
			return fmt.Errorf("step %d behind step %d", r.Step.ID, j.last)
		}
		if err := r.Step.judge(); err != nil {
			return fmt.Errorf("step %d, %q: %w", r.Step.ID, r.Step.Do, err)
		}
		j.pending = append(j.pending, *r.Step)
		j.last = r.Step.ID
	case r.Undone != 0:
		j.drop(r.Undone)
	case r.Ended:
		j.ended = true
	default:
		return errors.New("neither a step nor the undoing of one")
	}
	return nil
}

// judge refuses a step whose paths are not what a job writes: absolute, clean, and
// not the root. Which places they may be in is known where the step is taken back.
func (s Step) judge() error {
	for what, path := range map[string]string{"directory": s.Dir, "descriptor": s.Descriptor} {
		if path == "" {
			continue
		}
		if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" || strings.ContainsRune(path, 0) {
			return fmt.Errorf("%s %q is no clean absolute path", what, path)
		}
	}
	if s.Descriptor != "" && filepath.Base(s.Descriptor) != "DiskDescriptor.xml" {
		return fmt.Errorf("%q is no descriptor of a disk", s.Descriptor)
	}
	return nil
}

func (j *Journal) drop(id int) {
	for i, s := range j.pending {
		if s.ID == id {
			j.pending = append(j.pending[:i], j.pending[i+1:]...)
			return
		}
	}
}
