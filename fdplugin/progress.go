// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/regular"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// Progress is how far a job has come, as it has written it down last. It is for
// people alone: nothing depends on it, and an error while it is written is none.
type Progress struct {
	// Phase is what the job is at, since Since.
	Phase string    `json:"phase"`
	Since time.Time `json:"since"`
	// Files and Bytes are what the daemon has been given, or has given back. Updated
	// is when that was.
	Files   int64     `json:"files"`
	Bytes   int64     `json:"bytes"`
	Updated time.Time `json:"updated"`
}

// tellEvery is how often the figures are written down.
const tellEvery = 5 * time.Second

// progressPath is where the progress of the job with that journal is.
func progressPath(state, journal string) string {
	return filepath.Join(state, "progress", strings.TrimSuffix(filepath.Base(journal), undo.Suffix)+".json")
}

// ProgressOf reads the progress of the job with that journal, nil if there is none.
func ProgressOf(state, journal string) *Progress {
	b, err := regular.ReadFile(progressPath(state, journal), 64<<10)
	if err != nil {
		return nil
	}
	var p Progress
	if json.Unmarshal(b, &p) != nil {
		return nil
	}
	return &p
}

// phase says what the job is at now.
func (j *Job) phase(name string) {
	j.progress.Phase, j.progress.Since = name, time.Now()
	j.tell(j.progress.Files, j.progress.Bytes)
}

// count says how much was done, now and then.
func (j *Job) count(files, bytes int64) {
	if time.Since(j.progress.Updated) > tellEvery {
		j.tell(files, bytes)
	}
}

// tell writes the progress down.
func (j *Job) tell(files, bytes int64) {
	j.progress.Files, j.progress.Bytes, j.progress.Updated = files, bytes, time.Now()
	if j.journal == nil {
		return
	}
	if _, err := j.Node.stateDir("progress"); err != nil {
		return
	}
	path := progressPath(j.Node.State, j.journal.Path())
	b, err := json.Marshal(j.progress)
	if err != nil {
		return
	}
	// Not synced: after a crash of the node it says nothing any more.
	if os.WriteFile(path+".new", append(b, '\n'), 0o600) == nil {
		_ = os.Rename(path+".new", path)
	}
}

// forgetProgress removes the progress of a job that has ended, before its journal
// goes.
func (j *Job) forgetProgress() {
	path := progressPath(j.Node.State, j.journal.Path())
	os.Remove(path + ".new")
	os.Remove(path)
	j.progress = Progress{}
}

// dropProgress removes what jobs have written down whose journals have gone.
func (n Node) dropProgress() {
	list, _ := os.ReadDir(filepath.Join(n.State, "progress"))
	for _, e := range list {
		name, _, _ := strings.Cut(e.Name(), ".")
		if exists(filepath.Join(n.State, "journal", name+undo.Suffix)) {
			continue
		}
		os.Remove(filepath.Join(n.State, "progress", e.Name()))
	}
}
