// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// groups are the files of one disk with several names, in a partial job. If one of the
// names is to be saved, all are: a restore puts what this job has over what the jobs
// before it have, and a name that is not sent again would stay tied to the file of
// before. Nothing of that changes the files' own times where a directory above one of
// the names was renamed, or a name is newly left out.
//
// So these files wait until the disk was walked, and the directories that are to be saved
// wait for them, since each comes after all that is in it. Their paths are in a nameless
// file; in memory are 40 bytes for each file with several names.
type groups struct {
	dir  string
	file *os.File
	out  *bufio.Writer
	seen map[uint64]sharedFile
	// torn: a group some of whose names were not met is saved, too.
	torn bool
}

type sharedFile struct {
	names, links uint64
	changed      bool
}

func newGroups(dir string) *groups { return &groups{dir: dir, seen: map[uint64]sharedFile{}} }

// wait takes in a name of a file that has several. It reports false if it cannot be
// kept: then it must be sent now.
func (g *groups) wait(it *item, changed bool) bool {
	kept := g.keep(it.Stat.Ino, it.path) == nil
	f := g.seen[it.Stat.Ino]
	f.names++
	f.links = it.Stat.Nlink
	f.changed = f.changed || changed || !kept
	g.seen[it.Stat.Ino] = f
	return kept
}

// noFile is the number in place of an inode's: no file has it.
const noFile = 0

// follow takes in a directory that is to be saved after the files that wait. It reports
// false if none do, or if it cannot be kept.
func (g *groups) follow(it *item) bool {
	return g.file != nil && g.keep(noFile, it.path) == nil
}

func (g *groups) keep(ino uint64, path string) error {
	if g.file == nil {
		f, err := unnamed(g.dir)
		if err != nil {
			return err
		}
		g.file, g.out = f, bufio.NewWriter(f)
	}
	head := binary.NativeEndian.AppendUint64(nil, ino)
	head = binary.NativeEndian.AppendUint32(head, uint32(len(path)))
	_, err := g.out.Write(append(head, path...))
	return err
}

// due reports whether a file is to be saved with all its names.
func (g *groups) due(ino uint64) bool {
	f := g.seen[ino]
	return f.changed || g.torn && f.names < f.links
}

// after returns what follows the walk: the names that waited, of the files that are to
// be saved, then the directories. unchanged is told of each of the other names.
func (g *groups) after(root string, unchanged func()) func() (*walk.Entry, error) {
	var in *bufio.Reader
	find := &walk.Finder{Root: root}
	files := true
	return func() (*walk.Entry, error) {
		for g.file != nil {
			if in == nil {
				if err := errors.Join(g.out.Flush(), rewind(g.file)); err != nil {
					return nil, fmt.Errorf("go back to files with several names: %w", err)
				}
				in = bufio.NewReader(g.file)
			}
			switch ino, path, err := g.next(in); {
			case err == io.EOF && files:
				files, in = false, nil
			case err == io.EOF:
				find.Close()
				g.close()
			case err != nil:
				return nil, fmt.Errorf("read the names of files with several: %w", err)
			case files != (ino != noFile):
			case ino == noFile:
				return find.Directory(path)
			case g.due(ino):
				return find.Entry(path)
			default:
				unchanged()
			}
		}
		return nil, io.EOF
	}
}

func (g *groups) next(in *bufio.Reader) (ino uint64, path string, err error) {
	var head [12]byte
	if _, err := io.ReadFull(in, head[:]); err != nil {
		return 0, "", err // io.EOF at the end
	}
	name := make([]byte, binary.NativeEndian.Uint32(head[8:]))
	if _, err := io.ReadFull(in, name); err != nil {
		return 0, "", fmt.Errorf("cut off: %w", err)
	}
	return binary.NativeEndian.Uint64(head[:]), string(name), nil
}

func (g *groups) close() {
	if g != nil && g.file != nil {
		g.file.Close()
		g.file = nil
	}
}

func rewind(f *os.File) error {
	_, err := f.Seek(0, io.SeekStart)
	return err
}
