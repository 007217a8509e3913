// SPDX-License-Identifier: AGPL-3.0-only

// Command compare scans trees and compares them, for callers that must do so in
// another mount namespace.
//
//	compare scan DIR OUT           scan the file system mounted at DIR
//	compare diff A B               compare two scans; exit status 1 if they differ
//	compare controls DIR SCRATCH   plant alterations and see that each is reported
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/bareos-contrib/vz7ct/test/compare"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 3 {
		return errors.New("usage: compare scan DIR OUT | diff A B | controls DIR SCRATCH")
	}
	switch args[0] {
	case "scan":
		t, err := compare.Scan(args[1], compare.Options{Skip: compare.FileSystem})
		if err != nil {
			return err
		}
		return t.Save(args[2])
	case "diff":
		return diff(args[1], args[2])
	case "controls":
		return controls(args[1], args[2])
	default:
		return fmt.Errorf("unknown command %q", args[0])
	}
}

func controls(source, scratch string) error {
	r, err := compare.Controls(source, scratch)
	if err != nil {
		return err
	}
	for _, m := range r.NotPlanted {
		fmt.Println("not planted:", m)
	}
	for _, m := range r.Missed {
		fmt.Println("missed:", m)
	}
	fmt.Printf("controls=%d/%d\n", r.Planted-len(r.Missed), r.Planted)
	if len(r.Missed) > 0 {
		return errors.New("alterations were not reported")
	}
	return nil
}

func diff(a, b string) error {
	want, err := compare.Load(a)
	if err != nil {
		return err
	}
	got, err := compare.Load(b)
	if err != nil {
		return err
	}
	diffs := compare.Diff(want, got, compare.Documented)
	for _, d := range diffs {
		fmt.Println(d)
	}
	fmt.Printf("entries=%d differences=%d\n", len(want), len(diffs))
	if len(diffs) > 0 {
		return errors.New("the trees differ")
	}
	return nil
}
