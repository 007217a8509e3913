// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"fmt"

	"github.com/bareos-contrib/vz7ct/internal/text"
)

// CheckOptions judges an option string as a job would, without a job: that of a
// Plugin line, of FdPluginOptions or of pluginoptions, with the plugin's name. It
// reads no file that the string names.
func CheckOptions(s string) error {
	rest, ok := ours(s)
	if !ok {
		return fmt.Errorf("%q is not for plugin %s", s, PluginName)
	}
	set, err := parse(rest, "option string")
	if err != nil {
		return err
	}
	return judge(set)
}

// CheckOptionFile judges the content of a defaults_file or overrides_file, both
// sections of it. Owner and mode are a matter of the node it is copied to.
func CheckOptionFile(content string) error {
	for _, ph := range []phase{backupPhase, restorePhase} {
		set, err := parseFile(content, "["+string(ph)+"]", ph)
		if err != nil {
			return err
		}
		if err := judge(set); err != nil {
			return err
		}
	}
	return nil
}

// judge tries every setting on options of its own.
func judge(set []setting) error {
	chosen, err := choose([][]setting{set}, backupPhase)
	if err != nil {
		return err
	}
	o := defaults()
	for _, s := range chosen {
		opt, _ := find(s.key)
		if err := opt.set(&o, unquoted(opt, s.value)); err != nil {
			return fmt.Errorf("option %s=%s (%s): %w; valid is %s", s.key, text.Name(s.value), s.from, err, opt.valid)
		}
	}
	return nil
}
