// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/bareos-contrib/vz7ct/fdplugin"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/undo"
)

// What a journal says of its job, see stateOf.
const (
	running  = "running"
	dead     = "dead"
	takeback = "being taken back"
	atWork   = "ended, but a tool of it still runs"
)

// jobStatus is one journal.
type jobStatus struct {
	Job       string `json:"job"`
	Container string `json:"container"`
	PID       int    `json:"pid"`
	Since     string `json:"since"`
	State     string `json:"state"`
	Journal   string `json:"journal"`
	// Progress is how far it has come, nil if it has not said so.
	Progress *fdplugin.Progress `json:"progress,omitempty"`
	Pending  []stepStatus       `json:"pending"`
}

// stepStatus is what a job has made and not taken back yet.
type stepStatus struct {
	Words string `json:"words"`
	undo.Step
}

// status is `vz7ct status`.
func (a app) status(asJSON bool) int {
	list, err := undo.List(a.journals())
	a.complain(err)
	jobs := jobsOf(a.node.State, list)
	if asJSON {
		a.json(jobs)
	} else {
		printJobs(a.stdout, jobs)
	}
	if err != nil {
		return failed
	}
	return done
}

func jobsOf(state string, list []undo.Entry) []jobStatus {
	jobs := []jobStatus{}
	for _, e := range list {
		if !e.Live && len(e.Pending) == 0 {
			continue // nothing is left of it, or it is just being made
		}
		j := jobStatus{
			Job: e.Head.Job, Container: e.Head.Container, PID: e.Head.PID, Since: e.Head.Started,
			State: stateOf(e), Journal: e.Path, Progress: fdplugin.ProgressOf(state, e.Path), Pending: []stepStatus{},
		}
		for _, s := range e.Pending {
			j.Pending = append(j.Pending, stepStatus{fdplugin.DescribeStep(s), s})
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// stateOf tells a running job from a dead one. A journal that is held although its
// job has ended is held by a tool that the job has not awaited, or by one who takes
// back what is in it.
func stateOf(e undo.Entry) string {
	switch {
	case !e.Live:
		return dead
	case !e.Ended:
		return running
	case len(e.Commands()) > 0:
		return atWork
	default:
		return takeback
	}
}

func printJobs(w io.Writer, jobs []jobStatus) {
	if len(jobs) == 0 {
		fmt.Fprintln(w, "no job of the plugin has anything under way on this node, and none has left anything")
	}
	for _, j := range jobs {
		fmt.Fprintf(w, "%s: job %s, container %s, process %d, since %s\n", j.State, text.Name(j.Job), text.Name(j.Container), j.PID, j.Since)
		if p := j.Progress; p != nil {
			fmt.Fprintf(w, "    %s, since %s; %s files, directories and links of %s until %s\n", text.Name(p.Phase), p.Since.Format(time.TimeOnly),
				text.Count(p.Files), text.Size(p.Bytes), p.Updated.Format(time.TimeOnly))
		}
		for _, s := range j.Pending {
			fmt.Fprintf(w, "    %s\n", text.Name(s.Words))
		}
		if j.State == dead {
			fmt.Fprintf(w, "    take it back with: vz7ct recover (or the next job of the plugin does); journal: %s\n", j.Journal)
		}
	}
}

// json writes v for other programs.
func (a app) json(v any) {
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		a.log.Errorf("write: %v", err)
	}
}
