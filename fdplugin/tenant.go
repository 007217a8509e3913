// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"errors"
	"hash/crc32"
	"io/fs"
	"os"
	"strings"

	"github.com/bareos-contrib/vz7ct/internal/exclude"
	"github.com/bareos-contrib/vz7ct/internal/text"
	"github.com/bareos-contrib/vz7ct/internal/walk"
)

// The files by which a container says what is left out of it.
const (
	rulesName    = ".bareosignore"
	noBackupName = ".nobackup"
)

// cacheTag is the file that marks a directory as a cache, if it begins with cacheMark
// (bford.info/cachedir).
const (
	cacheTag  = "CACHEDIR.TAG"
	cacheMark = "Signature: 8a477f597d28d172789f06886806bc55"
)

// ruledDir is a directory with a rule of its own, on the way from the root of a disk to
// where the walk is. It has no path: a tenant's tree may be tens of thousands of directories deep.
type ruledDir struct {
	// depth is the number of slashes in the paths of its entries, length how long its own
	// path is, with a slash.
	depth, length int
	rules         *exclude.Ignore
	// sum stands for the content of the rule file.
	sum uint32
	// What it holds is left out: but for noBackupName, but for cacheTag, all of it.
	noBackup, cache, noDump bool
}

// maxRuleFiles is how many rule files count for one file at most: what they take of memory
// and time is bounded for each, see exclude.ParseIgnore.
const maxRuleFiles = 16

// enter looks for rules in a directory that the walk goes into.
func (c *chooser) enter(dir *walk.Entry) {
	choice := c.b.opts.Choice
	var p ruledDir
	if dir.Path != "" {
		p.depth, p.length = strings.Count(dir.Path, "/")+1, len(dir.Path)+1
	} else {
		p.noDump = choice.NoDump && noDump(dir) // a root is handed out whatever it has
	}
	if choice.Tenants {
		p.rules, p.sum = c.readRules(dir)
		p.noBackup = c.hasMark(dir)
	}
	p.cache = choice.Caches && isCache(dir)
	if p.rules != nil || p.noBackup || p.cache || p.noDump {
		c.ruling = append(c.ruling, p)
	}
	c.b.enter(c.v, dir, p.digest())
}

// digest stands for the rules of a directory, 0 for none.
func (p ruledDir) digest() uint32 {
	sum := p.sum
	for _, set := range []bool{p.noBackup, p.cache, p.noDump} {
		if sum *= 2; set {
			sum++
		}
	}
	return sum
}

// climb forgets the directories that the walk has left: path is in the one that it is in.
func (c *chooser) climb(path string) {
	n := len(c.ruling)
	if n == 0 {
		return
	}
	for depth := strings.Count(path, "/"); n > 0 && c.ruling[n-1].depth > depth; n-- {
		c.ruling[n-1].rules = nil
	}
	c.ruling = c.ruling[:n]
}

// ruled reports whether the container's rule files leave a path of the disk out: of those
// on the way to it the deepest one that says anything decides.
func (c *chooser) ruled(path string, dir bool) bool {
	for n := len(c.ruling) - 1; n >= 0; n-- {
		p := c.ruling[n]
		if decided, ignored := p.rules.Match(path[p.length:], dir); decided {
			return ignored
		}
	}
	return false
}

// closed reports whether path is in a directory whose content is left out for the reason
// given, and is not the file that says so. No directory in there is entered, so the last
// one that rules is the one that path is in.
func (c *chooser) closed(path, but string, why func(ruledDir) bool) bool {
	n := len(c.ruling) - 1
	return n >= 0 && why(c.ruling[n]) && path[c.ruling[n].length:] != but
}

// readRules reads a directory's rule file, nil if it has none, and a sum over it. One that
// is refused leaves nothing out.
func (c *chooser) readRules(dir *walk.Entry) (*exclude.Ignore, uint32) {
	data, err := dir.ReadIn(rulesName, maxRules+1)
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0
	}
	var rules *exclude.Ignore
	if err == nil {
		rules, err = exclude.ParseIgnore(data)
	}
	if n := c.inForce(); err == nil && n >= maxRuleFiles {
		err = errors.New("too many rule files are in the directories above already")
	}
	if err != nil {
		c.refuse(dir, rulesName, err)
		return nil, 0
	}
	return rules, crc32.ChecksumIEEE(data) | 1<<28
}

// maxRules is more than exclude.ParseIgnore takes.
const maxRules = 64 << 10

func (c *chooser) inForce() (n int) {
	for _, p := range c.ruling {
		if p.rules != nil {
			n++
		}
	}
	return n
}

// hasMark reports whether a directory is marked not to be saved.
func (c *chooser) hasMark(dir *walk.Entry) bool {
	err := dir.StatIn(noBackupName)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.refuse(dir, noBackupName, err)
	}
	return err == nil
}

func (c *chooser) refuse(dir *walk.Entry, name string, err error) {
	c.b.left.refused++
	at := "/" + c.full(dir.Path)
	c.b.job.warnFile(c.b.left.refused, "tenant_excludes=yes: %s leaves nothing out: %v", text.Name(strings.TrimSuffix(at, "/")+"/"+name), err)
}

// isCache reports whether a directory is marked as a cache.
func isCache(dir *walk.Entry) bool {
	data, err := dir.ReadIn(cacheTag, len(cacheMark))
	return err == nil && string(data) == cacheMark
}

// marks reports whether a path is that of a file that says what is left out beside it.
func (b *backup) marks(path string) bool {
	_, name := cutPath(path)
	return b.opts.Choice.Caches && name == cacheTag || b.opts.Choice.Tenants && name == noBackupName
}
