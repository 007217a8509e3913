// SPDX-License-Identifier: AGPL-3.0-only

// Package ploop is a stand-in for the ploop command: same arguments, messages and exit codes, on real images, with the
// image server in the place of the driver. It speaks the dialect of Virtuozzo 7 (7.0.280) or 9 (9.0.30), and does what the
// real tool does in dangerous states too, also where that loses data. It knows neither balloon nor encryption, and resize makes disks larger only.
package ploop

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/bareos-contrib/vz7ct/test/lab/node"
	"github.com/bareos-contrib/vz7ct/test/lab/server"
	"github.com/bareos-contrib/vz7ct/test/lab/workload"
)

// code is an exit status, SYSEXIT_* in ploop's libploop.h. 0 is success.
type code int

const (
	cCreat     code = 1
	cDevice    code = 2
	cDevioc    code = 3
	cOpen      code = 4
	cMalloc    code = 5
	cRead      code = 6
	cWrite     code = 7
	cFormat    code = 11
	cSys       code = 12
	cBusy      code = 17
	cTruncate  code = 19
	cMount     code = 21
	cUmount    code = 22
	cLock      code = 23
	cMkfs      code = 24
	cMkdir     code = 27
	cRename    code = 28
	cUnlink    code = 35
	cInUse     code = 37
	cParam     code = 38
	cDescr     code = 39
	cNotMount  code = 40
	cFsck      code = 41
	cNoSnap    code = 43
	cUmntBusy  code = 46
	cMinusOne  code = 255
	balloon         = ".balloon-c3a5ae3d-ce7f-43c4-a1ea-c61e2b4504e8"
	tempMark        = "~" // first letter of the component name of a temporary snapshot's device
	cookieSize      = 64
	maxSnap         = 126
	xmlSuffix       = ".xml"
	inUseState uint = 0x746F6E59
)

// at says where in the real tool's source a message comes from; its debug builds, which is what is shipped, print it.
type at struct{ fn, vz7, vz9 string }

// Tool is one call of the command.
type Tool struct {
	lab  node.Lab
	conf node.Config
	srv  server.Client
	out  io.Writer
	err  io.Writer
	vz9  bool
	rec  Record
	last string // last error message
	at   func(point string)
}

// Record is the line of DIR/log/ploop.jsonl that a call leaves.
type Record struct {
	Time     time.Time `json:"time"`
	Mono     int64     `json:"mono"` // monotonic time at the start, that of the ledgers
	Argv     []string  `json:"argv"`
	Exit     int       `json:"exit"`
	MS       float64   `json:"ms"`
	FreezeMS float64   `json:"freeze_ms,omitempty"` // from before FIFREEZE to after FITHAW
	SwitchMS float64   `json:"switch_ms,omitempty"` // inside: the server puts the new top in place
	Merged   int       `json:"merged_clusters,omitempty"`
	MergeMS  float64   `json:"merge_ms,omitempty"`
	Device   string    `json:"device,omitempty"`
}

// Main runs the command with the arguments after its name, and gives its exit status.
func Main(lab node.Lab, args []string, out, errw io.Writer) int {
	t := &Tool{lab: lab, srv: server.Client{Dir: lab.Dir}, out: out, err: errw}
	t.rec = Record{Time: time.Now(), Mono: workload.Now(), Argv: args}
	conf, err := lab.Config()
	if err != nil {
		_, _ = fmt.Fprintln(errw, "lab:", err)
		return int(cSys)
	}
	t.conf, t.vz9 = conf, conf.Dialect == "vz9"
	c := code(lab.Call(conf.Fault, "ploop "+strings.Join(args, " "), int(cSys), func(at func(string)) int {
		t.at = at
		return int(t.run(args))
	}))
	t.rec.Exit, t.rec.MS = int(c), since(t.rec.Time)
	if err := lab.Append("log/ploop.jsonl", t.rec); err != nil {
		_, _ = fmt.Fprintln(errw, "lab:", err)
	}
	return int(c)
}

func since(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }

// say prints what the real tool logs at level 0 and above.
func (t *Tool) say(format string, a ...any) { _, _ = fmt.Fprintf(t.out, format+"\n", a...) }

// raw prints to stderr as it is.
func (t *Tool) raw(format string, a ...any) {
	t.last = fmt.Sprintf(format, a...)
	_, _ = fmt.Fprintln(t.err, t.last)
}

// fail prints an error with its place in the source and, if cause carries a number of the system, what that means.
func (t *Tool) fail(w at, cause error, format string, a ...any) {
	place := w.vz7
	if t.vz9 {
		place = w.vz9
	}
	s := fmt.Sprintf("Error in %s (%s): ", w.fn, place) + fmt.Sprintf(format, a...)
	if cause != nil {
		s += ": " + strerror(cause)
	}
	t.raw("%s", s)
}

// strerror words an error as the C library does.
func strerror(err error) string {
	var e unix.Errno
	if !errors.As(err, &e) {
		return err.Error()
	}
	s := e.Error()
	return strings.ToUpper(s[:1]) + s[1:]
}

// broken reports that the lab itself failed, which the real tool cannot.
func (t *Tool) broken(err error) code {
	t.raw("lab: %v", err)
	return cSys
}

// pause lets a test kill the tool at a chosen point: it says so in DIR/paused and waits for that file to go.
func (t *Tool) pause(point string) {
	if t.conf.Pause == point {
		t.lab.PauseAt(point)
	}
	if t.at != nil {
		t.at(point)
	}
}

// run finds the command.
func (t *Tool) run(args []string) code {
	verbose := len(args) >= 2 && args[0] == "-v"
	if verbose {
		args = args[2:]
	}
	if len(args) == 0 {
		t.usageSummary()
		return cParam
	}
	cmds := map[string]func([]string) code{
		"init": t.cmdInit, "mount": t.cmdMount, "umount": t.cmdUmount, "snapshot": t.cmdSnapshot,
		"tsnapshot": t.cmdTsnapshot, "snapshot-delete": t.cmdDelete, "snapshot-merge": t.cmdMerge,
		"snapshot-list": t.cmdSnapshotList, "list": t.cmdList, "info": t.cmdInfo, "check": t.cmdCheck,
		"restore-descriptor": t.cmdRestore, "resize": t.cmdResize, "stat": t.cmdStat,
	}
	cmd, ok := cmds[args[0]]
	if !ok {
		t.usageSummary()
		if t.vz9 {
			t.raw("Usage: ploop degrade -d DEVICE") // 9.0.30 prints this one behind the summary
		}
		return cParam
	}
	return cmd(args[1:])
}
