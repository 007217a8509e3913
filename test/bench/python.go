// SPDX-License-Identifier: AGPL-3.0-only

package bench

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/bareos-contrib/vz7ct/test/e2e/rig"
)

// pythonFiles are what Bareos' own Python plugin for local files consists of, beside the module bareosfd.
var pythonFiles = []string{"python3-fd.so", "bareos-fd-local-fileset.py", "BareosFdWrapper.py", "BareosFdPluginLocalFilesBaseclass.py"}

// findPython looks for that plugin; why tells what is missing.
func findPython(dir string) (found, why string) {
	if !rig.IsBareos() {
		return "", "it is a plugin of Bareos"
	}
	if dir == "" {
		dir = filepath.Join(os.Getenv("E2E_BAREOS"), "lib/bareos/plugins")
	}
	for _, f := range pythonFiles {
		if _, err := os.Stat(filepath.Join(dir, f)); err != nil {
			return "", fmt.Sprintf("%v; BENCH_PYTHON names another folder", err)
		}
	}
	return dir, ""
}

// pythonJob saves the mounted snapshot by the Python plugin. What is to be saved is in a file.
func (w *world) pythonJob(c *container) rig.Job {
	return rig.Job{Name: "python-" + c.name, Sink: rig.Nothing, Raw: []string{
		"python3:module_path=" + w.python + ":module_name=bareos-fd-local-fileset:filename=" + w.pythonList(c),
	}}
}

func (w *world) pythonList(c *container) string { return filepath.Join(w.dir, "python-"+c.name) }

// playPython plays it. It goes through the tree before its first file, so the end of its list is when the daemon has done
// its last work: that is seen by its CPU time.
func (w *world) playPython(c benchCase) (_ Run, err error) {
	ct := w.cts[c.container]
	if err := os.WriteFile(w.pythonList(ct), []byte(ct.mount()+"\n"), 0o600); err != nil {
		return Run{}, err
	}
	plugin := filepath.Join(w.sys.Dir, "plugins/python3-fd.so")
	if out, err := exec.CommandContext(w.ctx, "cp", filepath.Join(w.python, "python3-fd.so"), plugin).CombinedOutput(); err != nil {
		return Run{}, fmt.Errorf("copy the Python plugin: %w: %s", err, out)
	}
	// The others' daemon does not have to hold it.
	defer func() { err = errors.Join(err, os.Remove(plugin)) }()
	r, err := w.native(c, "python-", nil)
	if err == nil && r.Files < ct.Files {
		err = fmt.Errorf("%d files were saved, %d are to be", r.Files, ct.Files)
	}
	return r, err
}
