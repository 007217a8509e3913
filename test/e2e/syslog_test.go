// SPDX-License-Identifier: AGPL-3.0-only

package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestListenAsSyslog is no test: it is run on the node by one, and prints the first
// line that comes for the system's log.
func TestListenAsSyslog(t *testing.T) {
	path := os.Getenv("VZ7CT_SYSLOG")
	if path == "" {
		t.Skip("is run by TestPanicInEveryExport on a node")
	}
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(path)
	defer c.Close()
	fmt.Println("listening")
	_ = c.SetReadDeadline(time.Now().Add(2 * time.Minute))
	buf := make([]byte, 8192)
	n, err := c.Read(buf)
	fmt.Printf("heard %s %v\n", strings.ReplaceAll(string(buf[:n]), "\n", " "), err)
}

// lines reads what a program prints.
type lines struct {
	scan *bufio.Scanner
	last string
}

func newLines(r io.Reader) *lines { return &lines{scan: bufio.NewScanner(r)} }

// until reads on to a line that begins with the words given.
func (l *lines) until(words string) bool {
	for l.scan.Scan() {
		if l.last = l.scan.Text(); strings.HasPrefix(l.last, words) {
			return true
		}
	}
	return false
}
