// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/restore"
)

// Restored is one file as the daemon hands it back.
type Restored struct {
	Kind Kind
	// Name is the name after where and regexwhere were applied. Where is what
	// was put before it, "" if nothing was.
	Name, Where string
	// Renamed: the operator has chosen names by regexwhere.
	Renamed bool
	// Link is a symbolic link's target, or the first name of a hard link, with
	// Where before it.
	Link    string
	Stat    unix.Stat_t
	Replace restore.Replace
}

// Answer tells the daemon what to do with the file's content.
type Answer int

const (
	// Skip: throw the content away.
	Skip Answer = iota
	// Created: there is no content.
	Created
	// Extract: write the content to the descriptor of OpenRestored.
	Extract
)

// target is where a restore writes to.
type target interface {
	// item returns the tree and the item for a file, nil if it is left out.
	item(f *Restored) (*restore.Tree, *restore.Item, error)
	// finish completes the restore, abandon gives it up.
	finish() error
	abandon()
}

// leftOut is why one file is not restored, where the others can be.
type leftOut struct{ error }

func (l *leftOut) Unwrap() error { return l.error }

// restoration is a restore at work.
type restoration struct {
	job *Job
	// cmds are the options by the command that the volume holds; opts are those
	// of the file at hand.
	cmds map[string]Options
	opts Options
	// containers are those being made anew, by the UUID in the backup; files is
	// the container that is there and written to.
	containers map[string]*newContainer
	files      *existingContainer
	// directories are those of restore=dir, by the UUID in the backup.
	directories map[string]*directory

	// tree is the one that was written to last.
	tree *restore.Tree
	file *restore.File
	what *Restored
	// strict: the file is one of a private area that is not trusted. withheld is how
	// many of such files' attributes were left out.
	strict   bool
	withheld int64
	// wrong is what of the file at hand is lost already.
	wrong    []error
	manifest *os.File // the manifest among the files, while it is read
	count    struct{ files, bytes, skipped, failed int64 }
}

// StartRestore takes the command that was recorded with the next file.
func (j *Job) StartRestore(cmd string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil || j.ctx.Err() != nil {
		return ErrStop
	}
	if j.restore == nil {
		j.restore = &restoration{job: j, cmds: map[string]Options{}, containers: map[string]*newContainer{}, directories: map[string]*directory{}}
	}
	r := j.restore
	r.endFile(false)
	if o, known := r.cmds[cmd]; known {
		r.opts, j.toolWait = o, o.ToolWait
		return nil
	}
	o, line, err := j.layers.effective(cmd, restorePhase)
	if err == nil {
		err = o.judgeRestore()
	}
	if err != nil {
		return j.fatal(err)
	}
	if len(r.cmds) == 0 {
		j.toolWait = o.ToolWait
		j.announce(line)
		if err := j.sweep(); err != nil {
			return j.fatal(err)
		}
	}
	r.cmds[cmd], r.opts, j.toolWait = o, o, o.ToolWait
	j.polite.want = o.Polite
	j.standBack()
	return nil
}

// CreateFile makes what the daemon restores next, or decides to leave it out.
func (j *Job) CreateFile(f *Restored) (Answer, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil || j.ctx.Err() != nil || j.restore == nil {
		return Skip, ErrStop
	}
	return j.restore.create(f)
}

func (r *restoration) create(f *Restored) (Answer, error) {
	r.endFile(false)
	if m, ok := r.manifestOf(f); ok {
		return m, nil
	}
	t, err := r.target(f)
	if err != nil {
		return Skip, r.job.fatal(err)
	}
	tree, it, err := t.item(f)
	var out *leftOut
	if errors.As(err, &out) {
		r.failed(f, err)
		return Skip, nil
	}
	if err != nil {
		return Skip, r.job.fatal(err)
	}
	if it == nil {
		return Skip, nil
	}
	if f.Kind == HardLink && it.First == "" {
		// Nothing would tell package restore that it is a link, and nobody has judged it as
		// anything else.
		r.failed(f, fmt.Errorf("it is a hard link to %s, which is no file", text.Name(f.Link)))
		return Skip, nil
	}
	r.at(tree)
	file, err := tree.Create(*it)
	switch {
	case errors.Is(err, restore.ErrSkipped):
		r.count.skipped++
		return Skip, nil
	case err != nil:
		r.failed(f, err)
		return Skip, nil
	}
	r.file, r.what, r.strict = file, f, distrusted(t, tree)
	if f.Kind == Directory || f.Kind == HardLink {
		return Created, nil
	}
	return Extract, nil
}

// failed reports a file that is not restored, or not exactly.
func (r *restoration) failed(f *Restored, err error) {
	r.count.failed++
	r.job.warnFile(r.count.failed, "not restored exactly: %s: %v", text.Name(f.Name), err)
}

// closeTree gives what was restored below top its last times and flags. What fails counts
// as any other file that is not restored exactly.
func (r *restoration) closeTree(tree *restore.Tree, top string) {
	err := tree.Close(func(path string, err error, again bool) {
		if again && r.count.failed > maxWarnings {
			return
		}
		if !again {
			r.count.failed++
			r.count.files--
		}
		r.job.warnFile(r.count.failed, "not restored exactly: %s: %v", text.Name(strings.TrimSuffix(top, "/")+"/"+path), err)
	})
	if err != nil {
		r.count.failed++
		r.job.Log.Warnf("not restored exactly: below %s: %v", text.Name(top), err)
	}
}

// target returns where the file goes. It is made ready with the first file: only
// then is it known whether a manifest came before.
func (r *restoration) target(f *Restored) (target, error) {
	switch r.opts.Restore {
	case RestoreFiles:
		return r.intoExisting(f)
	case RestoreDirectory:
		return r.intoDirectory(f)
	default:
		return r.intoNew(f)
	}
}

// maxContainers is how many containers one restore may be of: each keeps descriptors of the
// daemon's open until the end, and the names of a backup may be of any number of them.
const maxContainers = 100

func (r *restoration) roomForMore() error {
	if len(r.containers)+len(r.directories) < maxContainers {
		return nil
	}
	return fmt.Errorf("these are files of more than %d containers: restore them in several jobs", maxContainers)
}

// at is told of the tree that is written to. Another one lets go of its way.
func (r *restoration) at(tree *restore.Tree) {
	if r.tree != nil && r.tree != tree {
		r.tree.Leave()
	}
	r.tree = tree
}

// manifestOf catches the manifest among the files. It says what a restore of the
// container needs if the catalogue had no restore object.
func (r *restoration) manifestOf(f *Restored) (Answer, bool) {
	if r.opts.Restore == RestoreDirectory {
		return Skip, false // a file as any other one
	}
	bare, err := stripWhere(f.Name, f.Where)
	if err != nil || f.Renamed && r.opts.Restore != RestoreFiles {
		return Skip, false // what is wrong, the target says
	}
	p, ok := locate(bare)
	if !ok || p.area != inPrivate || p.path != manifestName && p.path != fullManifestName {
		return Skip, false
	}
	if r.opts.Restore == RestoreFiles || f.Kind != Regular {
		return Skip, true
	}
	dir, err := r.job.Node.stateDir(".")
	if err == nil {
		r.manifest, err = unnamed(dir)
	}
	if err != nil {
		r.failed(f, err)
		return Skip, true
	}
	return Extract, true
}

// OpenRestored returns the descriptor for the content of the file that
// CreateFile has made, -1 if it has none. It stays the Job's.
func (j *Job) OpenRestored() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch r := j.restore; {
	case r == nil:
		return -1
	case r.manifest != nil:
		return int(r.manifest.Fd())
	case r.file != nil:
		return r.file.Fd()
	default:
		return -1
	}
}

// SetXattr takes an extended attribute of the file at hand.
func (j *Job) SetXattr(name string, value []byte) {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch r := j.restore; {
	case r == nil || r.file == nil:
	case r.strict && gives(name):
		r.withheld++
		j.warnFile(r.withheld, "not restored: %s of %s, which would give users of this node rights in the private area", text.Name(name), text.Name(r.what.Name))
	default:
		r.file.SetXattr(name, value)
	}
}

// LoseXattr tells of an extended attribute that no file can have, with the lengths of
// its name and value.
func (j *Job) LoseXattr(name, value int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r := j.restore; r != nil && r.what != nil && len(r.wrong) < maxNamed {
		r.wrong = append(r.wrong, fmt.Errorf("an extended attribute with a name of %d and a value of %d bytes", name, value))
	}
}

// EndFile completes the file at hand. broken says that not all of its content
// could be written.
func (j *Job) EndFile(broken bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.restore != nil {
		j.restore.endFile(broken)
	}
}

func (r *restoration) endFile(broken bool) {
	if r.manifest != nil {
		r.readManifest()
	}
	if r.file == nil {
		return
	}
	file, what, wrong := r.file, r.what, r.wrong
	r.file, r.what, r.wrong = nil, nil, nil
	if err := r.whole(file, what, broken); err != nil {
		if file.Replaces() && !file.Indivisible() {
			err = fmt.Errorf("%w; what was there before is kept", err)
		}
		wrong = append(wrong, err)
		if file.Replaces() || file.Indivisible() {
			file.Abort()
			r.failed(what, errors.Join(wrong...))
			return
		}
	}
	if len(wrong) > 0 {
		file.Told()
	}
	if err := file.Finish(); err != nil {
		wrong = append(wrong, err)
	}
	if len(wrong) > 0 {
		r.failed(what, errors.Join(wrong...))
		return
	}
	r.count.files++
	r.count.bytes += what.Stat.Size
	r.job.count(r.count.files, r.count.bytes)
}

// whole compares a regular file's length with what was recorded. Of a file that
// came in pieces the last byte always comes.
func (r *restoration) whole(file *restore.File, what *Restored, broken bool) error {
	if broken {
		return errors.New("its content could not be written")
	}
	if file.Fd() < 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(file.Fd(), &st); err != nil {
		return err
	}
	if st.Size != what.Stat.Size {
		return fmt.Errorf("it has %d bytes, %d were saved", st.Size, what.Stat.Size)
	}
	return nil
}

func (r *restoration) readManifest() {
	f := r.manifest
	r.manifest = nil
	defer f.Close()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, maxManifest+1))
	if err == nil {
		var m *manifest
		if m, err = decodeManifest(data); err == nil {
			if c := r.containers[m.UUID]; c != nil {
				c.late(m)
				return
			}
			r.job.objects[m.UUID] = newest(r.job.objects[m.UUID], m)
			return
		}
	}
	r.job.Log.Warnf("the manifest among the files is not used: %v", err)
}

// Health is the daemon's own opinion of a job that ends.
type Health int

const (
	// Failed: cancelled, or ended by a fatal error.
	Failed Health = iota
	// Errors: it came to its end, but errors were counted.
	Errors
	Good
)

// EndRestore completes the restore, or takes it back if it has failed. It may
// be called more than once.
func (j *Job) EndRestore(h Health) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.standUp()
	if r := j.restore; r != nil && h != Failed && j.failed == nil && j.ctx.Err() == nil {
		r.endFile(false)
		if h == Errors {
			j.Log.Warnf("the daemon has counted errors in this job: see above what is not restored")
		}
		for _, c := range r.containers {
			c.incomplete = h == Errors
			c.judge(r.count.failed)
		}
		r.complete()
	}
	j.endRestore()
}

// complete finishes all targets. What fails is given up by endRestore, what does
// not is kept.
func (r *restoration) complete() {
	var errs []error
	for _, t := range r.targets() {
		if err := t.finish(); err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		_ = r.job.fatal(errors.Join(errs...))
		return
	}
	left := ""
	if r.count.skipped > 0 {
		left = fmt.Sprintf(", %s kept as they are by the replace option", text.Count(r.count.skipped))
	}
	say := r.job.Log.Infof
	if r.count.failed > 0 && r.job.Daemon.DeafToWarnings {
		say = r.job.Log.Errorf
	}
	say("restored: %s files, directories and links; %s not restored exactly%s",
		text.Count(r.count.files), text.Count(r.count.failed), left)
}

func (r *restoration) targets() []target {
	var all []target
	for _, c := range r.containers {
		all = append(all, c)
	}
	if r.files != nil {
		all = append(all, r.files)
	}
	for _, d := range r.directories {
		all = append(all, d)
	}
	return all
}

// endRestore gives up what is not complete.
func (j *Job) endRestore() {
	j.standUp()
	r := j.restore
	if r == nil {
		return
	}
	j.restore = nil
	if r.file != nil {
		r.file.Abort()
	}
	if r.manifest != nil {
		r.manifest.Close()
	}
	for _, t := range r.targets() {
		t.abandon()
	}
	all := j.takeBack()
	for _, c := range r.containers {
		switch {
		case c.registered, !c.begun:
		case j.stayed[c.id.uuid]:
			j.Log.Warnf("the restore of container %s (%s) has come to a bad end, and yet %s stays, see above: look at that before it is run again", c.m.title(), c.m.UUID, c.home())
		case all:
			j.Log.Warnf("the restore of container %s (%s) was not completed: what was made of it is removed, and it can be run again", c.m.title(), c.m.UUID)
		default:
			j.Log.Warnf("the restore of container %s (%s) was not completed: it can be run again when what is left, see above, is taken back", c.m.title(), c.m.UUID)
		}
	}
	j.unlock()
}
