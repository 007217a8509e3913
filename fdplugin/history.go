// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/prlctl"
)

// history is what this node remembers of the backups that one job of the Director has
// made of one container: an incremental goes by one of them. Bacula tells a plugin
// nothing more of that one than its name.
type history struct {
	Format    int    `json:"vz7ct_history"`
	Container string `json:"container"`
	// Job is the name of the Director's resource.
	Job string `json:"job"`
	// Runs are the oldest first.
	Runs []pastRun `json:"runs"`

	path string
}

// pastRun is one backup that came to its end.
type pastRun struct {
	// Number counts the runs, from 1.
	Number uint32 `json:"number"`
	// Name is the daemon's, of this one run.
	Name      string     `json:"name"`
	Level     string     `json:"level"`
	Made      time.Time  `json:"made"`
	Disks     []runsDisk `json:"disks"`
	Selection string     `json:"selection,omitempty"`
}

// runsDisk is a disk that was saved.
type runsDisk struct {
	UUID string `json:"uuid"`
	// Place is the prefix of its names, in bytes; empty for the root disk.
	Place []byte `json:"place"`
}

const (
	historyFormat = 1
	maxHistory    = 4 << 20
	maxRuns       = 256
	// historyAge is how long the history of a job is kept that is not run any more.
	historyAge = 400 * 24 * time.Hour
)

// unique is what the Director puts behind the name of a Job resource to make the name of
// one run: .2026-11-22_21.05.00_07 (create_unique_job_name in Bacula's, CreateUniqueJobName
// in Bareos' dird/job).
var unique = regexp.MustCompile(`\.\d{4}-\d\d-\d\d_\d\d\.\d\d\.\d\d_\d+$`)

// resource is the name of the Director's Job that a run is of.
func resource(name string) string { return unique.ReplaceAllString(name, "") }

// historyPath is where the history of a container's backups by one Job is.
func (n Node) historyPath(uuid, job string) (string, error) {
	dir, err := n.stateDir("levels")
	if err != nil {
		return "", err
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(job))
	return filepath.Join(dir, fmt.Sprintf("%s-%016x.json", uuid, h.Sum64())), nil
}

// readHistory reads what is remembered. Without a file it is empty; one that cannot be
// used is an error, with an empty history to begin anew.
func (n Node) readHistory(uuid, job string) (*history, error) {
	path, err := n.historyPath(uuid, job)
	if err != nil {
		return nil, err
	}
	fresh := &history{Format: historyFormat, Container: uuid, Job: job, path: path}
	data, err := regular.ReadFile(path, maxHistory)
	if errors.Is(err, os.ErrNotExist) {
		return fresh, nil
	}
	var h history
	if err == nil {
		err = json.Unmarshal(data, &h)
	}
	switch {
	case err != nil:
		return fresh, fmt.Errorf("history of earlier backups %s: %w", path, err)
	case h.Format != historyFormat || h.Container != uuid:
		return fresh, fmt.Errorf("history of earlier backups %s: format %d of container %s", path, h.Format, h.Container)
	}
	h.path = path
	return &h, nil
}

// of returns the run of that name.
func (h *history) of(name string) (pastRun, bool) {
	for i := len(h.Runs) - 1; i >= 0 && name != ""; i-- {
		if h.Runs[i].Name == name {
			return h.Runs[i], true
		}
	}
	return pastRun{}, false
}

// clockSlack is how many seconds the times of a job are apart by rounding: the Director's
// in whole seconds, and the difference of the clocks too.
const clockSlack = 2

// madeOf returns the newest of the runs that a job was made of which the Director calls by
// name, without a run of its own. Such a job has the time of the newest job in it
// (NativeVbackupCleanup in Bareos' dird/vbackup.cc, vbackup_cleanup in Bacula's), though it
// was begun after it, as its name tells: no job that a node has run is like that.
func (h *history) madeOf(name string, since int64) (pastRun, bool) {
	for _, r := range h.Runs {
		if since <= 0 || r.Made.Unix()+clockSlack < since {
			continue
		}
		begun, after := unique.FindString(r.Name), unique.FindString(name)
		return r, resource(name) == resource(r.Name) && begun != "" && after > begun
	}
	return pastRun{}, false
}

// next is the number of the next run.
func (h *history) next() uint32 {
	if len(h.Runs) == 0 {
		return 1
	}
	return h.Runs[len(h.Runs)-1].Number + 1
}

// add remembers one more run.
func (h *history) add(r pastRun) error {
	h.Runs = append(h.Runs, r)
	h.forget(maxRuns)
	for {
		data, err := json.MarshalIndent(h, "", "  ")
		if err != nil {
			return err
		}
		// Runs of very many disks: what is too long could not be read again.
		if len(data) < maxHistory || len(h.Runs) == 1 {
			return writeState(h.path, append(data, '\n'))
		}
		h.forget(len(h.Runs) / 2)
	}
}

// forget drops runs until there are no more than n. Full ones, by which differential jobs
// go for long, stay the longest, and the last run stays.
func (h *history) forget(n int) {
	for len(h.Runs) > max(n, 1) {
		i := slices.IndexFunc(h.Runs, func(r pastRun) bool { return r.Level != "F" })
		if i < 0 || i == len(h.Runs)-1 {
			i = 0
		}
		h.Runs = slices.Delete(h.Runs, i, i+1)
	}
}

// writeState replaces a file of the plugin's own; the new one is on disk then.
func writeState(path string, data []byte) error {
	_ = os.Remove(path + ".new") // of one who died here
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = errors.Join(os.Rename(path+".new", path), syncDir(filepath.Dir(path)))
	}
	if err != nil {
		_ = os.Remove(path + ".new")
	}
	return err
}

// forgetHistories removes what belongs to jobs that have not run for long.
func (n Node) forgetHistories() {
	files, _ := filepath.Glob(filepath.Join(n.State, "levels", "*"))
	for _, f := range files {
		if st, err := os.Lstat(f); err == nil && time.Since(st.ModTime()) > historyAge {
			_ = os.Remove(f)
		}
	}
}

// remember writes down that this backup came to its end.
func (b *backup) remember() {
	if b.past == nil || b.estimate || !b.count.complete || b.job.failed != nil {
		return
	}
	r := pastRun{Number: b.past.next(), Name: b.job.Name, Level: string(b.job.level), Made: b.started.UTC(), Selection: b.opts.selection()}
	for _, v := range b.volumes {
		r.Disks = append(r.Disks, runsDisk{v.conf.UUID, []byte(v.catalogue)})
	}
	if len(b.past.Runs) > 0 {
		b.places.carry(b.past.Runs[0].Number)
	}
	// The table of directories first: it may be newer than the runs, not older.
	if err := b.places.write(placesPath(b.past.path)); err != nil {
		_ = os.Remove(placesPath(b.past.path)) // of one moved to and fro an old table says that it was never away
		b.job.Log.Warnf("where the directories of container %s are now is not remembered: %v; the next incremental without Accurate saves all below directories that have changed", b.container.Title(), err)
	}
	if err := b.past.add(r); err != nil {
		b.job.Log.Warnf("that container %s was saved is not remembered: %v; on Bacula the next incremental will ask for a full backup", b.container.Title(), err)
	}
	b.job.Node.forgetHistories()
}

// disksIn are those of a manifest.
func disksIn(m *manifest) (list []runsDisk) {
	for _, d := range m.Disks {
		list = append(list, runsDisk{d.UUID, []byte(d.Catalogue)})
	}
	return list
}

// name is a disk's for messages.
func (d runsDisk) name() string {
	switch {
	case d.UUID == prlctl.RootDisk:
		return "the root disk"
	case len(d.Place) == 0:
		return "{" + d.UUID + "}"
	}
	return "/" + string(d.Place)
}
