// SPDX-License-Identifier: AGPL-3.0-only

//go:build !inject

package main

import "github.com/bareos-contrib/vz7ct/fdplugin"

// hook is where the tests' build of the plugin panics: see inject.go. Here it is
// nothing, and nothing of it is in the object.
func hook() {}

// tampered lets the tests' build of the plugin go wrong: see inject.go.
func tampered(e *fdplugin.Entry, ask func(*fdplugin.Entry) (bool, error)) (bool, error) {
	return ask(e)
}
