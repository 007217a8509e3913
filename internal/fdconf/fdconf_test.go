// SPDX-License-Identifier: AGPL-3.0-only

package fdconf

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const client = "Client {\n  Name = node-fd\n  # PKI Encryption = yes\n  Plugin Directory = /usr/lib64/bareos/plugins\n}\n"

func TestPlain(t *testing.T) {
	later := time.Now().Add(time.Hour)
	for _, tt := range []struct {
		name  string
		files map[string]string
		args  []string
		start time.Time
		want  bool
	}{
		{"nothing found", nil, nil, later, false},
		{"default directory", map[string]string{"etc/bareos/bareos-fd.d/client/myself.conf": client}, nil, later, true},
		{"default file", map[string]string{"etc/bacula/bacula-fd.conf": client}, nil, later, true},
		{"key pair", map[string]string{"etc/bareos/bareos-fd.d/client/myself.conf": client, "etc/bareos/bareos-fd.d/x.conf": "  pkikeypair=/k\n"}, nil, later, false},
		{"spaces", map[string]string{"etc/bacula/bacula-fd.conf": "FileDaemon { Name = x; P KI Encryp tion = Yes }"}, nil, later, false},
		{"capitals", map[string]string{"etc/bacula/bacula-fd.conf": "\tPKI SIGNATURES = no"}, nil, later, false},
		{"changed since", map[string]string{"etc/bacula/bacula-fd.conf": client}, nil, time.Now().Add(-time.Hour), false},
		{"program", map[string]string{"etc/bacula/bacula-fd.conf": client + "@|\"/bin/x\"\n"}, nil, later, false},
		{"given file", map[string]string{"my.conf": client, "etc/bacula/bacula-fd.conf": "PKI Encryption = yes"}, []string{"bacula-fd", "-f", "-c", "ROOT/my.conf"}, later, true},
		{"given file, joined", map[string]string{"my.conf": "PKI Encryption = yes"}, []string{"bareos-fd", "-cROOT/my.conf"}, later, false},
		{"given directory", map[string]string{"d/bareos-fd.d/client/a.conf": client}, []string{"bareos-fd", "--config=ROOT/d"}, later, true},
		{"given and missing", map[string]string{"etc/bacula/bacula-fd.conf": client}, []string{"bareos-fd", "--config", "ROOT/none"}, later, false},
		{"given and relative", map[string]string{"my.conf": client}, []string{"bareos-fd", "-c", "my.conf"}, later, false},
		{"included", map[string]string{"my.conf": "@ROOT/inc\n", "inc": "PKI Cipher = aes256"}, []string{"bareos-fd", "-c", "ROOT/my.conf"}, later, false},
		{"included plain", map[string]string{"my.conf": "@ROOT/inc\n", "inc": client}, []string{"bareos-fd", "-c", "ROOT/my.conf"}, later, true},
		{"includes itself", map[string]string{"my.conf": "@ROOT/my.conf\n"}, []string{"bareos-fd", "-c", "ROOT/my.conf"}, later, false},
	} {
		root := t.TempDir()
		expand := func(s string) string {
			return filepath.Clean(replace(s, root))
		}
		for name, content := range tt.files {
			write(t, filepath.Join(root, name), replace(content, root))
		}
		var args []string
		for _, a := range tt.args {
			if len(a) > 4 {
				a = expand(a)
			}
			args = append(args, a)
		}
		if got := plain(args, root, tt.start); got != tt.want {
			t.Errorf("%s: plain = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func replace(s, root string) string {
	for i := 0; i+4 <= len(s); i++ {
		if s[i:i+4] == "ROOT" {
			return s[:i] + root + s[i+4:]
		}
	}
	return s
}

func TestStartTime(t *testing.T) {
	got, err := startTime()
	if err != nil || time.Since(got) < -time.Second || time.Since(got) > time.Hour {
		t.Errorf("startTime = %v, %v, want a time just past", got, err)
	}
}

// The daemon follows a link to a directory, the search does not.
func TestLinkedDirectoryIsUnsure(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "etc/bareos/bareos-fd.d/messages/m.conf"), "Messages { Name = m }\n")
	later := time.Now().Add(time.Hour)
	if !plain(nil, root, later) {
		t.Fatal("plain = false without a link, want true")
	}
	if err := os.Symlink(filepath.Join(root, "elsewhere"), filepath.Join(root, "etc/bareos/bareos-fd.d/client")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if plain(nil, root, later) {
			t.Error("plain = true with a link that leads elsewhere, want false")
		}
		write(t, filepath.Join(root, "elsewhere/myself.conf"), "Client { PKI Encryption = yes }\n")
	}
}
