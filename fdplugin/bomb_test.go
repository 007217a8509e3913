// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"
)

// unpacksTo returns an object that unpacks to n MiB of blanks.
func unpacksTo(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	must(t, err)
	var piece []byte
	for range 3 {
		begin := b.Len()
		_, err := w.Write(bytes.Repeat([]byte(" "), 1<<20))
		must(t, errors.Join(err, w.Flush()))
		piece = b.Bytes()[begin:] // from the second one on they are all the same
	}
	b.Write(bytes.Repeat(piece, n-3))
	plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b.Bytes())), 10<<20))
	if err != nil || strings.Trim(string(plain), " ") != "" {
		t.Fatalf("the bomb is a dud: %d bytes, %v", len(plain), err)
	}
	return []byte(packed + base64.StdEncoding.EncodeToString(b.Bytes()))
}

// A restore object is read in bounds of memory and time, whatever it unpacks to and
// however many things it has in it.
func TestBombs(t *testing.T) {
	fill := func(begin, each, end string) []byte {
		n := (maxManifest - len(begin) - len(end)) / len(each)
		return []byte(begin + strings.Repeat(each, n) + end)
	}
	const head = `{"vz7ct_manifest":1,"uuid":"` + webID + `","ctid":"101",`
	disk := `{"uuid":"` + dataID + `","image":"a/b","size_sectors":1,`
	for name, data := range map[string][]byte{
		"gigabytes of blanks":    unpacksTo(t, 4096),
		"disks of three bytes":   fill(head+`"disks":[`, "{},", "{}]}"),
		"disks again and again":  fill(head, `"disks":[],`, `"x":1}`),
		"lists of many disks":    fill(head, `"disks":[{},{},{},{},{},{},{},{}],`, `"x":1}`),
		"names that are ignored": fill(head+`"disks":[`+disk+`"bytes":{`, `"x":"",`, `"y":""}}]}`),
		"nested lists":           fill(head+`"disks":`, "[", ""),
		"nested objects":         fill(head+`"disks":[`, `{"bytes":`, ""),
		"one long name":          fill(head+`"name":"`, "x", `"}`),
		"one long name of disks": fill(head+`"disks":[{"uuid":"`, "x", `"}]}`),
		"escapes":                fill(head+`"name":"`, `\u0000`, `"}`),
		"unknown members":        fill(head, `"aaaa":{"b":[1,2,3]},`, `"x":1}`),
		"more than allowed":      bytes.Repeat([]byte(" "), maxManifest+1),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		begin := time.Now()
		m, err := decodeObject(data)
		took := time.Since(begin)
		runtime.ReadMemStats(&after)
		if (err == nil) != (name == "names that are ignored") {
			t.Errorf("%s: decodeObject = %+v, %v", name, m, err)
		}
		// With all that was garbage at once.
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 || took > 2*time.Minute {
			t.Errorf("%s: %d MiB, %s", name, used>>20, took)
		}
	}
}

// What is kept of objects is bounded as well.
func TestManyObjects(t *testing.T) {
	j, log := emptyNode(t).job(t, bareos)
	m := webManifest()
	for n := range maxObjects + 10 {
		m.UUID = fmt.Sprintf("%08x-dbb9-45a5-b4c2-9f7ae90dfe2c", n)
		data, err := m.encodeObject(0)
		must(t, err)
		j.AddObject(objectName+m.UUID+"\n", 1, data)
	}
	if len(j.objects) != maxObjects || !strings.Contains(log.all("info"), "there are more than 1024 containers") || strings.Contains(log.lines[0], "\n") {
		t.Errorf("%d objects kept, said %.300s", len(j.objects), log.all())
	}
}

// A configuration that no restore would take is not saved as if it were.
func TestManifestThatIsTooLarge(t *testing.T) {
	m := webManifest()
	m.Config = make([]byte, maxManifest)
	if data, err := m.encode(); err == nil || !strings.Contains(err.Error(), "configuration is too large") {
		t.Errorf("encode = %d bytes, %v", len(data), err)
	}
}

// An option string costs what it is long, and no more than is allowed.
func TestHugeOptions(t *testing.T) {
	for _, each := range []string{"a", ":", "=", "a=b:", "name=web:", "blocker=x:", `\:`, "'", "excluded_backup_paths=", "blocker=*/*/*:", "\xff", "[", "\n"} {
		for _, size := range []int{maxOptions - 10, 10 << 20} {
			s := "vz7ct:" + strings.Repeat(each, size/len(each))
			var l layers
			l.add(s)
			begin := time.Now()
			_, line, err := l.effective("vz7ct:name=web", backupPhase)
			if took := time.Since(begin); took > 2*time.Minute {
				t.Errorf("%q, %d bytes: %s", each, size, took)
			}
			if size > maxOptions && (err == nil || !strings.Contains(err.Error(), "65536 are allowed")) {
				t.Errorf("%q, %d bytes: effective = %.100q, %v", each, size, line, err)
			}
			if err != nil && len(err.Error()) > 4*size+1000 {
				t.Errorf("%q, %d bytes: an error of %d bytes", each, size, len(err.Error()))
			}
		}
	}
	var l layers
	for range maxStrings + 1 {
		l.add("vz7ct:name=web")
		l.add("python:" + strings.Repeat("x", 10<<20))
	}
	if _, _, err := l.effective("vz7ct:", backupPhase); err == nil || !strings.Contains(err.Error(), "more than 64 option strings") || len(l.ignored) != 0 {
		t.Errorf("effective with too many strings = %v, %d kept of others", err, len(l.ignored))
	}
}
