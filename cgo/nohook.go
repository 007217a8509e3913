// SPDX-License-Identifier: AGPL-3.0-only

//go:build !inject

package main

// hook is where the tests' build of the plugin panics: see inject.go. Here it is
// nothing, and nothing of it is in the object.
func hook() {}
