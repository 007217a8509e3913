// SPDX-License-Identifier: AGPL-3.0-only

//go:build inject

package main

import (
	"os"
	"runtime"
	"strings"

	"github.com/bareos-contrib/vz7ct/fdplugin"
)

// injectFile names the exported function that is to panic, once: whoever removes the
// file does. It is in the object that tests build with -tags inject, and in no other.
const injectFile = "/run/vz7ct-inject"

func hook() {
	name, err := os.ReadFile(injectFile)
	if err != nil {
		return
	}
	pc := make([]uintptr, 64)
	frames := runtime.CallersFrames(pc[:runtime.Callers(1, pc)])
	for {
		f, more := frames.Next()
		// A generic or nested function is called after the one that it is in.
		at, _, _ := strings.Cut(strings.TrimPrefix(f.Function, "main."), ".")
		if at == string(name) && os.Remove(injectFile) == nil {
			panic("injected into " + at)
		}
		if !more {
			return
		}
	}
}

// tamperFile says how the answers to "has this file changed?" are to be spoilt, for the
// judge of levels to see.
const tamperFile = "/run/vz7ct-tamper"

func tampered(e *fdplugin.Entry, ask func(*fdplugin.Entry) (bool, error)) (bool, error) {
	way, _ := os.ReadFile(tamperFile)
	if string(way) == "slash" {
		asked := *e
		asked.Name = strings.TrimSuffix(e.Name, "/")
		return ask(&asked)
	}
	yes, err := ask(e)
	switch string(way) {
	case "seen":
		yes = false
	case "changed":
		yes = true
	case "groups":
		e.Stat.Nlink = 1 // as if it had no other names
	}
	return yes, err
}
