// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"
	"strings"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// counters are the figures of one backup.
type counters struct {
	files, dirs, links, specials, hardLinks int64
	// bytes is the content of files as their sizes say.
	bytes int64
	// failed are files that are not saved, or not completely.
	failed int64
	// met is what nothing leaves out of the disks, but for their roots and the files that
	// say what is left out; unchanged is what of it a partial job does not save.
	met, unchanged int64
	// complete: the list of files came to its end.
	complete bool
}

func (c *counters) add(e *Entry) {
	switch e.Kind {
	case Regular, Empty:
		c.files++
		c.bytes += e.Stat.Size
	case Directory:
		c.dirs++
	case Symlink:
		c.links++
	case Special:
		c.specials++
	case HardLink:
		c.hardLinks++
	case Object:
	}
}

// entries counts what the daemon was given.
func (c *counters) entries() int64 { return c.files + c.dirs + c.links + c.specials + c.hardLinks }

// summary writes the last line of a backup.
func (b *backup) summary() {
	c := &b.count
	words := []string{
		text.Count(c.files) + " files",
		text.Count(c.dirs) + " directories",
		text.Count(c.links) + " symbolic links",
	}
	for _, w := range []struct {
		n    int64
		what string
	}{{c.hardLinks, "hard links"}, {c.specials, "devices and fifos"}} {
		if w.n > 0 {
			words = append(words, text.Count(w.n)+" "+w.what)
		}
	}
	rest := ""
	if c.unchanged > 0 {
		rest += fmt.Sprintf("; %s unchanged", text.Count(c.unchanged))
	}
	if c.failed > 0 {
		rest += fmt.Sprintf("; %s not saved, or not completely", text.Count(c.failed))
	}
	b.job.Log.Infof("container %s saved: %s; %s in files%s; snapshot existed %s, of it merge %s",
		b.container.Title(), strings.Join(words, ", "), text.Size(c.bytes), rest,
		text.Duration(time.Since(b.started)), text.Duration(b.merge))
}
