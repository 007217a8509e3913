// SPDX-License-Identifier: AGPL-3.0-only

package fdconf

import (
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestDaemons(t *testing.T) {
	const myself = "etc/bareos/bareos-fd.d/client/myself.conf"
	for _, tt := range []struct {
		name  string
		files map[string]string
		dir   string
		names []string
		err   string
	}{
		{"as packaged", map[string]string{myself: "Client {\n  Name = x-fd\n  # Plugin Directory = \"/usr/lib64/bareos/plugins\"\n}\n"}, "", nil, ""},
		{"both", map[string]string{myself: client + "Client { Plugin Names = \"vz7ct\" }"}, "/usr/lib64/bareos/plugins", []string{"vz7ct"}, ""},
		{"list", map[string]string{myself: "Client{PLUGINDIRECTORY=\"/a b\";PluginNames = python3, \"vz7ct:x\" # z\nplugin names = last\n}"}, "/a b", []string{"python3", "vz7ct", "x", "last"}, ""},
		{"another resource", map[string]string{myself: "Director { Plugin Directory = /d }\nPlugin Directory = /e\nClient { X { Plugin Directory = /f } }"}, "", nil, ""},
		{"not closed", map[string]string{"etc/bareos/bareos-fd.d/a/a.conf": "Client {", myself: "Plugin Directory = /d"}, "", nil, ""},
		{"two levels down", map[string]string{"etc/bareos/bareos-fd.d/myself.conf": client, "etc/bareos/bareos-fd.d/a/b/myself.conf": client}, "", nil, ""},
		{"the file counts", map[string]string{"etc/bareos/bareos-fd.conf": "FileDaemon { Plugin Directory = /d\n}", myself: client}, "/d", nil, ""},
		{"bacula", map[string]string{"etc/bacula/bacula-fd.conf": "\ufeffFileDaemon {  # this is me\n  Name = vm-fd\n  Plugin Directory = /usr/lib/bacula\n}\n"}, "/usr/lib/bacula", nil, ""},
		{"included", map[string]string{myself: "Client {\n@/etc/more\n}", "etc/more": "Plugin Directory = /m"}, "/m", nil, ""},
		{"included by pattern", map[string]string{myself: "@\"/etc/more*\"\n@/none*\n", "etc/more1": "Client { Plugin Directory = /m"}, "/m", nil, ""},
		{"include is missing", map[string]string{myself: "@/etc/more\n" + client}, "/usr/lib64/bareos/plugins", nil, "no such file"},
		{"program", map[string]string{myself: "@|\"/bin/x\"\n"}, "", nil, "is not read"},
		{"includes itself", map[string]string{myself: "@/" + myself + "\n"}, "", nil, "too many"},
	} {
		root := t.TempDir()
		for name, content := range tt.files {
			write(t, filepath.Join(root, name), content)
		}
		list := Daemons(root)
		if len(list) != 1 {
			t.Errorf("%s: Daemons = %+v, want one", tt.name, list)
			continue
		}
		d := list[0]
		if d.PluginDirectory != tt.dir || !reflect.DeepEqual(d.PluginNames, tt.names) {
			t.Errorf("%s: Daemons = %q %q, want %q %q", tt.name, d.PluginDirectory, d.PluginNames, tt.dir, tt.names)
		}
		if (d.Err == nil) != (tt.err == "") || d.Err != nil && !strings.Contains(d.Err.Error(), tt.err) {
			t.Errorf("%s: error %v, want %q", tt.name, d.Err, tt.err)
		}
	}
	if list := Daemons(t.TempDir()); len(list) != 0 {
		t.Errorf("Daemons of nothing = %+v", list)
	}
}

// Whatever a file holds, the reading ends, and makes up nothing.
func FuzzDaemon(f *testing.F) {
	for _, s := range []string{client, "Client { Plugin Names = \"a:b\", c ; }", "@\"", "{}}}={\"\\", "Client{plugin names=::}"} {
		f.Add(s)
	}
	root := f.TempDir()
	f.Fuzz(func(t *testing.T, content string) {
		if strings.ContainsRune(content, '@') {
			return
		}
		write(t, filepath.Join(root, "etc/bacula/bacula-fd.conf"), content)
		d := Daemons(root)[0]
		for _, n := range append(d.PluginNames, d.PluginDirectory) {
			if !strings.Contains(strings.ReplaceAll(content, `\`, ""), strings.ReplaceAll(n, `\`, "")) {
				t.Errorf("%q is not in the file", n)
			}
		}
	})
}
