// SPDX-License-Identifier: AGPL-3.0-only

package fdplugin

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// However files are read, no more is read in any time than the rate and the slack allow, and
// not much less where as much is there to be read.
func TestPace(t *testing.T) {
	for _, tt := range []struct {
		name string
		rate uint64
		// next returns the bytes of the next read, and how long the rest of the world takes.
		next func(r *rand.Rand) (int64, time.Duration)
	}{
		{"large file", 10 << 20, func(*rand.Rand) (int64, time.Duration) { return 64 << 10, 0 }},
		{"slowest", slowest, func(*rand.Rand) (int64, time.Duration) { return 64 << 10, 0 }},
		{"small files", 1 << 20, func(r *rand.Rand) (int64, time.Duration) {
			return 1 + r.Int64N(4<<10), time.Duration(r.Int64N(int64(time.Millisecond)))
		}},
		{"pauses", 1 << 20, func(r *rand.Rand) (int64, time.Duration) {
			if r.IntN(1000) == 0 {
				return 1, 10 * time.Second // which are not made up for
			}
			return 8 << 10, 0
		}},
	} {
		now := time.Unix(1e9, 0)
		p := newPace(tt.rate)
		p.now = func() time.Time { return now }
		r := rand.New(rand.NewPCG(1, 2))
		const reads = 5000
		begin, idle, total, at, done := now, time.Duration(0), int64(0), []time.Time{}, []int64{}
		for range reads {
			n, rest := tt.next(r)
			total += n
			at, done = append(at, now), append(done, total)
			now = now.Add(p.took(n))
			now = now.Add(rest)
			if rest > time.Second {
				idle += rest
			}
		}
		most := func(d time.Duration) int64 { return int64(float64(tt.rate)*(d+2*slack).Seconds()) + 64<<10 }
		for i := 0; i < reads; i += 50 {
			for j := i; j < reads; j += 50 {
				if got, want := done[j]-done[i], most(at[j].Sub(at[i])); got > want {
					t.Fatalf("%s: %d bytes in %v, want at most %d", tt.name, got, at[j].Sub(at[i]), want)
				}
			}
		}
		whole := now.Sub(begin) - idle
		if want := time.Duration(float64(total) / float64(tt.rate) * float64(time.Second)); whole > want*11/10+2*slack {
			t.Errorf("%s: %d bytes have taken %v, want about %v", tt.name, total, whole, want)
		}
	}
	// One that does not wait is found out.
	p := newPace(1 << 20)
	now := time.Unix(1e9, 0)
	p.now = func() time.Time { return now }
	if wait := p.took(1 << 20); wait < time.Second-2*slack || wait > time.Second {
		t.Errorf("took(1 MiB) at 1 MiB/s = %v, want about a second", wait)
	}
	if wait := p.took(0); wait < time.Second-2*slack {
		t.Errorf("took(0) for somebody else meanwhile = %v, want about a second", wait)
	}
}

// A job waits after what it has read, and not any longer when it does not go on.
func TestTookWaits(t *testing.T) {
	for _, tt := range []struct {
		name string
		// end is called after 3 seconds of a wait of 10.
		end  func(j *Job)
		want time.Duration
	}{
		{"goes on", func(*Job) {}, 10 * time.Second},
		{"cancelled", (*Job).Cancel, 3 * time.Second},
		{"no room", func(j *Job) {
			j.mu.Lock()
			defer j.mu.Unlock()
			j.backup.starved = ErrStop
		}, 3 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			j := &Job{}
			j.Open()
			defer j.Cancel()
			j.backup = &backup{job: j, pace: newPace(1 << 20), file: -1}
			time.AfterFunc(3*time.Second, func() { tt.end(j) })
			begin := time.Now()
			j.Took(10 << 20)
			if took := time.Since(begin); took < tt.want-2*slack || took > tt.want+step {
				t.Errorf("%s: Took has waited %v, want %v", tt.name, took, tt.want)
			}
			begin = time.Now()
			if j.Took(1); tt.want < 10*time.Second && time.Since(begin) != 0 {
				t.Errorf("%s: Took has waited %v after that", tt.name, time.Since(begin))
			}
		})
	}
}
