// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"compress/flate"
	"fmt"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// maxRow is how many bytes a row of an index has in PostgreSQL: a third of a page ("index
// row size 2712 exceeds btree version 4 maximum 2704"). Both daemons' catalogues have an
// index of directories. The Director writes all names of a job at its end, and the job
// fails with that message, in which no name is.
const maxRow = 2704

// paths looks for directories that a catalogue may not take.
type paths struct {
	last string
	told bool
}

// judge says once what may become of the job, at the first such directory. The row is
// compressed before it is measured, by less than we do here: names that are alike pass.
func (p *paths) judge(name string) string {
	dir := name[:strings.LastIndexByte(name, '/')+1]
	if p.told || len(dir) <= maxRow || dir == p.last {
		return ""
	}
	p.last = dir
	var n written
	w, err := flate.NewWriter(&n, flate.BestSpeed)
	if err != nil {
		return ""
	}
	_, _ = w.Write([]byte(dir)) // it only counts
	if w.Close() != nil || n <= maxRow/2 {
		return ""
	}
	p.told = true
	return fmt.Sprintf("the path of %s... has %s bytes, and an index of PostgreSQL %s after compression: if the job fails with \"index row size exceeds maximum\", its catalogue cannot take such paths; leave them out with excluded_backup_paths (further ones are not named)",
		text.Name(dir[:300]), text.Count(int64(len(dir))), text.Count(maxRow))
}

// written counts what is written to it.
type written int

func (n *written) Write(b []byte) (int, error) {
	*n += written(len(b))
	return len(b), nil
}
