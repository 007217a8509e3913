// SPDX-License-Identifier: AGPL-3.0-only

// Command bench measures how fast the plugin is beside the daemon's own backup: see package bench. What it does is set by
// variables, which are documented in the Makefile.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/bareos-contrib/vz7ct/test/bench"
)

func main() {
	err := command(os.Args[1:])
	if ended := new(exec.ExitError); errors.As(err, &ended) && len(os.Args) == 1 {
		os.Exit(1) // it has said why
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench: FAILED:", err)
		os.Exit(1)
	}
}

// command runs one of the commands that the bench calls on the node, or the bench itself.
func command(args []string) error {
	switch {
	case len(args) == 0:
		return alone()
	case args[0] == "_run":
		return run()
	case args[0] == "_fill" && len(args) == 4:
		n, err := strconv.Atoi(args[2])
		return errors.Join(err, bench.Fill(args[1], args[3], n))
	case args[0] == "_large" && len(args) == 3:
		n, err := strconv.Atoi(args[1])
		return errors.Join(err, bench.Large(args[2], n))
	case args[0] == "_empty" && len(args) == 3:
		n, err := strconv.Atoi(args[1])
		return errors.Join(err, bench.Empty(args[2], n))
	case args[0] == "_count" && len(args) == 2:
		return answer(bench.CountTree(args[1]))
	case args[0] == "_read" && len(args) == 3:
		return bench.ReadIn(args[1], args[2])
	case args[0] == "_walk" && len(args) == 3:
		return answer(bench.Walk(args[1], args[2]))
	}
	return errors.New("usage: bench; see the Makefile for its variables")
}

func answer[T any](v T, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(v)
}

// alone runs the bench in a mount namespace of its own: what it mounts goes with it, however it ends.
func alone() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command(exe, "_run")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	go func() {
		for range stop {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
	}()
	return cmd.Wait()
}

func run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Hour)
	defer cancel()
	top, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	cfg := bench.Config{
		Out: os.Stdout, Dir: variable("BENCH_DIR", "/var/tmp"), Tree: variable("BENCH_TREE", "build/tree.tar"), Keep: variable("BENCH_KEEP", "") == "1",
		Cases:  strings.Fields(strings.ReplaceAll(variable("BENCH_CASES", ""), ",", " ")),
		Python: variable("BENCH_PYTHON", ""), Pages: top, Result: filepath.Join(top, "build/log"), Delay: 2 * time.Millisecond,
	}
	numbers := []struct {
		name string
		to   *int
		def  int
	}{{"BENCH_FILES", &cfg.Files, 200_000}, {"BENCH_SLOW_FILES", &cfg.SlowFiles, 20_000}, {"BENCH_ROUNDS", &cfg.Rounds, 5}, {"BENCH_LARGE", &cfg.LargeMiB, 4096}}
	for _, n := range numbers {
		if *n.to, err = strconv.Atoi(variable(n.name, strconv.Itoa(n.def))); err != nil || *n.to < 1 {
			return fmt.Errorf("%s: want a number above 0", n.name)
		}
	}
	if variable("BENCH_MEMORY", "") == "1" {
		cfg.Memory = []int{cfg.Files, 5 * cfg.Files}
	}
	return bench.Measure(ctx, cfg)
}

// variable returns a variable of the environment, or its default.
func variable(name, def string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return def
}
