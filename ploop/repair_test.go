// SPDX-License-Identifier: AGPL-3.0-only

package ploop

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/internal/run"
)

// disk writes a descriptor with the shots given.
func disk(t *testing.T, shots ...string) string {
	t.Helper()
	dd := filepath.Join(t.TempDir(), "DiskDescriptor.xml")
	rewrite(t, dd, shots...)
	return dd
}

func rewrite(t *testing.T, dd string, shots ...string) {
	t.Helper()
	if err := os.WriteFile(dd, []byte(build(shots...)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUsers(t *testing.T) {
	dd := disk(t, "aa "+null, top+" aa")
	image := filepath.Join(filepath.Dir(dd), "i0.hds")
	c, _ := client(answer{stdout: "ploop1\t" + image + "\nploop2\t" + image + "\t~prl_backup\nploop3\t/other/i0.hds\tx\n"})
	users, err := c.Users(context.Background(), dd)
	if err != nil || strings.Join(users, "|") != "device ploop2 of ~prl_backup" {
		t.Errorf("Users = %q, %v", users, err)
	}
	c, _ = client(answer{stdout: "ploop1\t" + image + "\nploop2\t" + image + "\t~prl_backup\nploop3\t/other/i0.hds\tx\n"})
	users, err = c.Openers(context.Background(), dd)
	if err != nil || strings.Join(users, "|") != "device ploop1|device ploop2 of ~prl_backup" {
		t.Errorf("Openers = %q, %v", users, err)
	}
	busy, err := os.Create(dd + ".lck")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if err := unix.Flock(int(busy.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	c, _ = client(answer{})
	if users, err := c.Users(context.Background(), dd); err != nil || strings.Join(users, "|") != "a ploop command" {
		t.Errorf("Users of a busy disk = %q, %v", users, err)
	}
	c, _ = client(answer{exit: 1})
	if users, err := c.Users(context.Background(), dd); err == nil {
		t.Errorf("Users of a tool that fails = %q, nil", users)
	}
}

// A merge that was cut off is completed where nobody has the disk open and it is
// known which one it was; else nothing is done.
func TestRepair(t *testing.T) {
	marked := []string{"aa " + null + " t", top + " aa"}
	for _, tt := range []struct {
		name  string
		shots []string
		uuid  string
		open  string // device of the base image
		calls int    // besides list
	}{
		{"marked", marked, "", "", 2},
		{"marked, named", marked, "aa", "", 2},
		{"named, not marked", []string{"aa " + null, top + " aa"}, "aa", "", 2},
		{"above a user's snapshot", []string{"aa " + null, "bb aa t", top + " bb"}, "", "", 2},
		{"open", marked, "", "\t~prl_backup", 0},
		{"container runs", marked, "", "\t", 0},
		{"another is marked", []string{"aa " + null + " t", "bb aa", top + " bb"}, "bb", "", 0},
		{"two are marked", []string{"aa " + null + " t", "bb aa t", top + " bb"}, "", "", 0},
		{"none is marked", []string{"aa " + null, top + " aa"}, "", "", 0},
		{"not below the newest", []string{"aa " + null + " t", "bb aa", top + " bb"}, "", "", 0},
		{"two rest on it", []string{"aa " + null + " t", "bb aa", top + " aa"}, "", "", 0},
		{"not there", marked, "cc", "", 0},
	} {
		dd := disk(t, tt.shots...)
		list := ""
		if tt.open != "" {
			list = "ploop1\t" + filepath.Join(filepath.Dir(dd), "i0.hds") + tt.open + "\n"
		}
		c, f := client(answer{stdout: list}, answer{}, answer{then: func() {
			left := append([]string{}, tt.shots[:len(tt.shots)-2]...)
			parent := null
			if len(left) > 0 {
				parent = "aa"
			}
			rewrite(t, dd, append(left, top+" "+parent)...)
		}})
		err := c.Repair(context.Background(), dd, tt.uuid)
		done := 0
		for _, call := range f.calls {
			if call != "list" {
				done++
			}
		}
		if done != tt.calls || (tt.calls == 0) != errors.Is(err, ErrNoRepair) || tt.calls > 0 && err != nil {
			t.Errorf("%s: Repair = %v, calls %q", tt.name, err, f.calls)
		}
		if tt.calls > 0 && (f.calls[1] != "check -d "+dd || !strings.HasPrefix(f.calls[2], "snapshot-delete -u {")) {
			t.Errorf("%s: calls %q", tt.name, f.calls)
		}
	}
	// The tool refuses, or does nothing.
	for _, answers := range [][]answer{{{}, {exit: 37}}, {{}, {}, {exit: 4}}, {{}, {}, {}}} {
		c, _ := client(answers...)
		if err := c.Repair(context.Background(), disk(t, marked...), ""); err == nil || errors.Is(err, ErrNoRepair) {
			t.Errorf("Repair with %v = %v, want an error", answers, err)
		}
	}
}

// The merge of our own snapshot was cut off when the power was.
func TestMergeRepairs(t *testing.T) {
	dd := copyOf(t, "DiskDescriptor.1.xml")
	c, f := client(answer{exit: exitInUse}, answer{}, answer{}, answer{then: func() { merged(dd) }})
	if err := c.Merge(context.Background(), dd, uuid); err != nil {
		t.Errorf("Merge = %v", err)
	}
	check(t, f, "snapshot-delete -u {"+uuid+"} "+dd, "list", "check -d "+dd, "snapshot-delete -u {"+uuid+"} "+dd)

	dd = copyOf(t, "DiskDescriptor.1.xml")
	c, _ = client(answer{exit: exitInUse}, answer{}, answer{exit: 37})
	if err := c.Merge(context.Background(), dd, uuid); run.ExitStatus(err) != 37 || !strings.Contains(err.Error(), "exit status 4") {
		t.Errorf("Merge that cannot be repaired = %v, want both errors", err)
	}
}

// The container was switched to another snapshot meanwhile.
func TestMergeOfWhatOthersRestOn(t *testing.T) {
	dd := disk(t, "aa "+null, "bb aa", top+" aa")
	c, _ := client(answer{})
	if err := c.Merge(context.Background(), dd, "aa"); err == nil || !strings.Contains(err.Error(), "2 images rest on snapshot {aa}") {
		t.Errorf("Merge = %v", err)
	}
}
