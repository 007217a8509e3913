// SPDX-License-Identifier: AGPL-3.0-only

package main

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/bareos-contrib/vz7ct/test/lab/judge"
	"github.com/bareos-contrib/vz7ct/test/lab/nasty"
	"github.com/bareos-contrib/vz7ct/test/lab/workload"
)

func status(args []string) error {
	l, rest, err := lab(args)
	if err != nil {
		return err
	}
	s, err := judge.Look(l)
	if err != nil {
		return err
	}
	if len(rest) == 1 && rest[0] == "--json" {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(s)
	}
	return s.Print(os.Stdout)
}

func check(args []string) error {
	l, _, err := lab(args)
	if err != nil {
		return err
	}
	return (&judge.Checker{Lab: l, Out: os.Stdout}).Run()
}

func makeNasty(args []string) error {
	switch {
	case len(args) == 1:
		return errors.Join(nasty.Make(args[0]), nasty.MakeSockets(args[0]))
	case len(args) == 2 && args[1] == "full":
		return nasty.MakeFull(args[0], nasty.Whole)
	case len(args) == 2 && args[1] == "small":
		return nasty.MakeFull(args[0], nasty.Small)
	case len(args) == 2 && args[1] == "too-long":
		return nasty.MakeTooLong(args[0])
	}
	return errUsage
}

func now([]string) error {
	_, err := fmt.Println(workload.Now()) //nolint:forbidigo // the command's output
	return err
}

// runWorkload is the first process of a container; prlctl starts it.
func runWorkload(args []string) error {
	if len(args) < 6 {
		return errors.New("workload: for prlctl start only")
	}
	rate, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	rounds, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	return workload.Init(args[0], args[1], args[2], args[5:], rate, rounds)
}

// lockstep judges disks, mounted below a root, by their counters.
func lockstep(args []string) error {
	if len(args) < 3 {
		return errUsage
	}
	counters, err := workload.Lockstep(args[0], args[1:])
	_, _ = fmt.Println("lockstep:", strings.Trim(fmt.Sprint(counters), "[]")) //nolint:forbidigo // the command's output
	return err
}

var errNotRestored = errors.New("the tree lacks what was durable")

func verify(args []string) error {
	f := flag.NewFlagSet("workload-verify", flag.ContinueOnError)
	ledger := f.String("ledger", "", "the container's ledger: DIR/ledger/UUID")
	before := f.Int64("before", 0, "monotonic time in nanoseconds")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() != 1 || *ledger == "" || *before == 0 {
		return errUsage
	}
	r, err := workload.Verify(*ledger, *before, f.Arg(0))
	if err != nil {
		return err
	}
	for _, d := range r.Details {
		_, _ = fmt.Fprintln(os.Stderr, d)
	}
	if _, err := fmt.Println(r); err != nil { //nolint:forbidigo // the command's output
		return err
	}
	if r.Missing+r.Wrong > 0 {
		return errNotRestored
	}
	return nil
}
