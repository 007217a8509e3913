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
	past, err := b.job.Node.readHistory(b.container.UUID, resource(b.job.Name))
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
	b.baseRun = was.Number
	if b.estimate {
		return nil
	}
	why := "neither a restore object of that job has come nor is it in this node's memory: it has not saved this container with " + PluginName
	if known {
		why = b.differs(was)
	}
	if why != "" {
		b.job.Log.Warnf("level %c cannot go by job %s: %s", b.job.level, text.Name(b.job.Host.Previous()), why)
		return needFull{}
	}
	if !b.job.Host.Accurate() && !b.placesKnown() {
		b.job.Log.Warnf("this node does not remember where directories were at the time of job %s: of a directory that was renamed since then, what is below it is saved only as far as it has changed itself. The next job will know; so does one with Accurate = yes", text.Name(b.job.Host.Previous()))
	}
	return nil
}

// base returns what is known of the job that this one goes by. Bareos sends its restore
// objects; in Bacula, which does not, its name must be one that this node remembers.
func (b *backup) base() (pastRun, bool) {
	was, remembered := b.past.of(b.job.Host.Previous())
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
