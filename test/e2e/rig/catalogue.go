// SPDX-License-Identifier: AGPL-3.0-only

package rig

import (
	"encoding/hex"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// Files returns the names that the catalogue has of a job: of what was saved, and of
// what is gone since the job that it goes by. They come from the database itself: the
// consoles print a name's line end and bytes that are no UTF-8 as something else.
func (s *System) Files(id int) (saved, gone []string, err error) {
	out, err := s.family.files(s, id)
	if err != nil {
		return nil, nil, fmt.Errorf("files of job %d in the catalogue: %w: %s", id, err, out)
	}
	for line := range strings.Lines(out) {
		there, name, ok := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		b, err := hex.DecodeString(name)
		if !ok || err != nil {
			return nil, nil, fmt.Errorf("files of job %d in the catalogue: %q", id, line)
		}
		if there == "1" {
			saved = append(saved, string(b))
		} else {
			gone = append(gone, string(b))
		}
	}
	return saved, gone, nil
}

// What is gone has an index of 0 or less in both families.
func (bacula) files(s *System, id int) (string, error) {
	return command(time.Minute, "sqlite3", "-readonly", "-cmd", ".timeout 20000", filepath.Join(s.Dir, "dir/cat.db"), fmt.Sprintf(
		"SELECT FileIndex > 0, hex(CAST(Path AS BLOB)) || hex(CAST(Name AS BLOB)) FROM File NATURAL JOIN Path NATURAL JOIN Filename WHERE JobId = %d", id))
}

func (bareos) files(s *System, id int) (string, error) {
	return postgres("psql", "-qXAt", "-h", filepath.Join(s.Dir, "pgsock"), "-U", "bareos", "-d", "bareos", "-c", fmt.Sprintf(
		"SELECT (FileIndex > 0)::int, encode(convert_to(Path || Name, 'SQL_ASCII'), 'hex') FROM File NATURAL JOIN Path WHERE JobId = %d", id))
}
