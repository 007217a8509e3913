// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/quota"
)

// quota returns the limits of users and groups on the disk, as the commands that
// set them again; nil if there are none. They are evidence: a restore does not
// run them.
func (v *volume) quota() ([]byte, error) {
	mount := v.conf.Mount
	if mount == "" {
		mount = "MOUNTPOINT"
	}
	var out bytes.Buffer
	for _, q := range []struct{ file, flag string }{{"aquota.user", "-u"}, {"aquota.group", "-g"}} {
		limits, err := readQuota(filepath.Join(v.dir, q.file))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.file, err)
		}
		for _, l := range limits {
			fmt.Fprintf(&out, "setquota %s %d %d %d %d %d %s\n", q.flag, l.ID, l.SoftBlocks, l.HardBlocks, l.SoftFiles, l.HardFiles, mount)
		}
	}
	if out.Len() == 0 {
		return nil, nil
	}
	return out.Bytes(), nil
}

func readQuota(path string) ([]quota.Limit, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_NOCTTY, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return nil, errors.Join(err, errors.New("is no regular file"))
	}
	return quota.Read(f, st.Size())
}
