// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"errors"
	"fmt"
	"os"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// needFull is what a job ends with that would have to go by one which cannot be trusted.
type needFull struct{}

// Error returns the words that Bareos' own tools look for in job logs, to run a full
// backup then (contrib/misc/reschedule_job_as_full of Bareos). They stand alone.
func (needFull) Error() string { return "A new full level backup of this job is required." }

// lookBack reads what this node remembers of the jobs before, and judges the one that a
// partial job goes by: what is restored from the two together must be the container. An
// estimate is not judged: Bareos tells it nothing of that job.
func (b *backup) lookBack() error {
	job := b.job.Name
	if previous := b.job.Host.Previous(); b.estimate && previous != "" {
		job = previous // an estimate has the console's name
	}
	past, err := b.job.Node.readHistory(b.container.UUID, resource(job))
	if past == nil {
		return err
	}
	if err != nil {
		b.job.Log.Warnf("%v; it is begun anew", err)
	}
	b.past, b.places = past, &places{run: past.next()}
	if err := b.places.read(placesPath(past.path)); err != nil && !errors.Is(err, os.ErrNotExist) {
		b.job.Log.Warnf("where directories were is not known: %v", err)
	}
	if !b.job.partial() {
		return nil
	}
	was, known := b.base()
	if b.estimate {
		return nil
	}
	why := "neither a restore object of that job has come nor is it in this node's memory: it has not saved this container with " + PluginName
	if known {
		why = b.differs(was)
	}
	if b.reselected = known && was.Selection != b.opts.selection(); b.reselected && why == "" && !b.job.Host.Accurate() {
		why = "the options that choose what is saved were others then: what they have left out may be older than that job, and only Accurate = yes would find it"
	}
	if why != "" {
		b.job.Log.Warnf("level %c cannot go by job %s: %s", b.job.level, text.Name(b.job.Host.Previous()), why)
		return needFull{}
	}
	if !b.job.Host.Accurate() && !b.placesKnown() {
		b.job.Log.Warnf("this node does not remember where directories were at the time of job %s: all below directories that have changed since then is saved, in case they were renamed. The next job will know; so does one with Accurate = yes", text.Name(b.job.Host.Previous()))
	}
	return nil
}

// base returns what is known of the job that this one goes by, and sets the number of its
// run. Bareos sends its restore objects; in Bacula, which does not, its name must be one
// that this node remembers. Jobs that the Director has made out of others (VirtualFull,
// Consolidate, Migrate) have no objects and are no run of any node: they are told by time.
func (b *backup) base() (pastRun, bool) {
	previous := b.job.Host.Previous()
	was, remembered := b.past.of(previous)
	b.baseRun = was.Number
	if !remembered {
		if was, remembered = b.past.madeOf(previous, b.job.Host.Since()); remembered {
			// What it is made of begins with that run, or is older: of the directories all
			// count that were moved since the run before.
			b.baseRun = was.Number - 1
			b.job.Log.Infof("job %s is not one of this node; by its time it was made of %s and jobs before", text.Name(previous), text.Name(was.Name))
		}
	}
	if m := b.job.objects[b.container.UUID]; m != nil {
		return pastRun{Number: was.Number, Name: m.Job, Disks: disksIn(m), Selection: m.Selection}, true
	}
	return was, remembered
}

// differs says what has changed since a job so that its files and those of this one
// would not make the container, "" if nothing has. The size of a disk does not matter.
func (b *backup) differs(was pastRun) string {
	for _, v := range b.volumes {
		now := runsDisk{v.conf.UUID, []byte(v.catalogue)}
		found := false
		for _, d := range was.Disks {
			if d.UUID != now.UUID {
				continue
			}
			if found = true; !bytes.Equal(d.Place, now.Place) {
				return fmt.Sprintf("disk {%s} was at %s then and is at %s now", now.UUID, text.Name(d.name()), text.Name(now.name()))
			}
		}
		if !found {
			return fmt.Sprintf("disk {%s} (%s) was not saved then: it is new, or was left out", now.UUID, text.Name(now.name()))
		}
	}
	for _, d := range was.Disks {
		found := false
		for _, v := range b.volumes {
			found = found || v.conf.UUID == d.UUID
		}
		if !found {
			return fmt.Sprintf("disk {%s} (%s) was saved then and is not now", d.UUID, text.Name(d.name()))
		}
	}
	return ""
}
