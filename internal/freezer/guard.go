// SPDX-License-Identifier: AGPL-3.0-only

package freezer

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/bareos-contrib/vz7ct/internal/run"
)

// insist is how long a guard tries to thaw.
const insist = 10 * time.Second

// Guard is the program at the other end of Freeze. It says on out that it is at
// work, waits until in ends, a signal comes or the bound is over, and lets the
// processes of the group go on. It does so in any case, also when they go on
// already. Its caller keeps signals and a broken pipe from ending it.
func Guard(dir string, in io.Reader, out io.Writer, signals <-chan os.Signal, bound time.Duration) error {
	over := time.NewTimer(bound)
	defer over.Stop()
	g, err := open(dir)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, run.Ready); err != nil {
		return fmt.Errorf("say that the guard is at work: %w", err)
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		defer func() { _ = recover() }()
		// Any end will do, a failure too. Nothing is said to a guard.
		_, _ = io.Copy(io.Discard, in)
	}()
	select {
	case <-gone:
	case <-signals:
	case <-over.C:
	}
	for end := time.Now().Add(insist); ; time.Sleep(100 * time.Millisecond) {
		if err = g.thaw(); err == nil || time.Now().After(end) {
			return err
		}
	}
}
