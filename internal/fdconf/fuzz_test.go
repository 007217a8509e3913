// SPDX-License-Identifier: AGPL-3.0-only

package fdconf

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Whatever else a configuration holds, a PKI directive in it is found, and what
// is thought to be plain has none that a daemon would read.
func FuzzPlain(f *testing.F) {
	for _, s := range []string{client, "FileDaemon { Name = x; P KI Encryp tion = Yes }", "@/none\n", "@|\"sh\"", "{\"pki\"", "#\n\r;;", "Name = \"a # b\" # c"} {
		f.Add(s)
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, content string) {
		if strings.Contains(content, "@/") {
			return // files of this machine
		}
		later := time.Now().Add(time.Hour)
		path := filepath.Join(root, "x.conf")
		args := []string{"bareos-fd", "-c", path}
		write(t, path, content)
		if plain(args, root, later) {
			for line := range strings.SplitSeq(content, "\n") {
				if line = strings.ToLower(strings.TrimSpace(line)); strings.HasPrefix(line, "pki") || strings.HasPrefix(line, "@") {
					t.Errorf("plain with the line %q", line)
				}
			}
		}
		write(t, path, content+"\n"+client+"PKI Key Pair = /k\n")
		if plain(args, root, later) {
			t.Errorf("plain after %q with a key pair", content)
		}
	})
}
