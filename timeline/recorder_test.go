package timeline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// world is a Recorder over a file, with records and a clock of its own.
type world struct {
	*Recorder
	t      testing.TB
	store  *boltstore.Store
	logs   *observer.ObservedLogs
	writes int // by mu

	mu    sync.Mutex
	at    time.Time
	ended map[string]bool // by uid
	down  error           // what the store answers
	race  func()          // called once, before the next write
}

func newWorld(t testing.TB) *world {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	w := &world{t: t, store: st, at: t0, ended: map[string]bool{}}
	w.Recorder = w.recorder()
	return w
}

func (w *world) recorder() *Recorder {
	core, logs := observer.New(zap.InfoLevel)
	w.logs = logs
	r := New(Config{Store: faulty{w.store, w}, Lives: w.lives, Logger: zap.New(core), Now: w.now})
	r.settle, r.between = 0, 0
	return r
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.at
}

func (w *world) lives(hostname, uid string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return hostname != "" && !w.ended[uid]
}

func (w *world) set(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// flush writes all that waits, as Run does.
func (w *world) flush() {
	for w.pending.len() > 0 {
		if !w.write(w.t.Context(), w.pending.take(w.now(), batchRecords)) {
			return
		}
	}
}

func (w *world) line(uid string) Line {
	w.t.Helper()
	l, err := w.Line(w.t.Context(), uid)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// stored is how many time lines the store has.
func (w *world) stored() int {
	w.t.Helper()
	res, err := w.store.List(w.t.Context(), Prefix, store.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	return len(res.KeyValues)
}

// faulty is the store with the world's faults.
type faulty struct {
	store.Store
	w *world
}

func (f faulty) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	f.w.mu.Lock()
	down, race := f.w.down, f.w.race
	f.w.race = nil
	f.w.writes++
	f.w.mu.Unlock()
	if down != nil {
		return 0, down
	}
	if race != nil {
		race()
	}
	return f.Store.Write(ctx, ops...)
}

func TestEventsAreKeptAndSurviveARestart(t *testing.T) {
	w := newWorld(t)
	w.Offer("uid-1", "a.example.com", t0.Add(-time.Minute), changed(0, "CNAMEConfigured", "False", "True", "CNAMEConfigured"))
	w.Offer("", "nobody.example.com", t0, failure(0, "x"))
	want := []string{"0s CNAMEConfigured False>True CNAMEConfigured"}
	if got := told(w.line("uid-1")); !slices.Equal(got, want) {
		t.Errorf("before it is written: %q", got)
	}
	w.flush()
	w.Recorder = w.recorder()
	w.Offer("uid-1", "a.example.com", time.Time{}, Event{Type: "Certificate", Reason: "CertificateIssued"})
	w.flush()
	l := w.line("uid-1")
	if got := told(l); !slices.Equal(got, append(want, "0s Certificate > CertificateIssued")) || l.Hostname != "a.example.com" || !l.Created.Equal(t0.Add(-time.Minute)) {
		t.Errorf("after a restart: %q, %+v", got, l)
	}
	if l := w.line("uid-2"); len(l.Events) != 0 {
		t.Errorf("of another record: %+v", l)
	}
}

func TestManyRecordsAreOneWrite(t *testing.T) {
	w := newWorld(t)
	for i := range 10 * batchRecords {
		for j := range 3 {
			w.Offer(fmt.Sprint("uid-", i), "a.example.com", t0, Event{Type: fmt.Sprint("T", j)})
		}
	}
	w.flush()
	if w.writes != 10 || w.stored() != 10*batchRecords {
		t.Errorf("%d time lines took %d writes, want 10", w.stored(), w.writes)
	}
}

func TestOneWriteHasNotTooManyBytes(t *testing.T) {
	w := newWorld(t)
	for i := range batchRecords {
		for j := range Most {
			w.Offer(fmt.Sprint("uid-", i), "a.example.com", t0, Event{Type: fmt.Sprint("T", j), Message: string(make([]byte, maxMessage))})
		}
	}
	w.flush()
	if least := batchRecords * Most * maxMessage / batchBytes; w.writes < least || w.stored() != batchRecords {
		t.Errorf("%d time lines took %d writes, want %d at least", w.stored(), w.writes, least)
	}
}

func TestALineEndsWithItsRecord(t *testing.T) {
	w := newWorld(t)
	for _, uid := range []string{"uid-1", "uid-2", "uid-3"} {
		w.Offer(uid, "a.example.com", t0, Event{Type: "T"})
	}
	w.flush()
	w.set(func() { w.ended["uid-1"], w.ended["uid-3"] = true, true })
	w.Offer("uid-1", "a.example.com", t0, Event{Type: "U"})
	w.End("uid-1")
	w.Offer("uid-1", "a.example.com", t0, Event{Type: "V"}) // a look that outlasts it
	if l := w.line("uid-1"); len(l.Events) != 0 {
		t.Errorf("an ended record still has %+v", l)
	}
	w.flush()
	w.Offer("uid-1", "a.example.com", t0, Event{Type: "V"}) // one that does so for long
	w.flush()
	if n := w.stored(); n != 2 {
		t.Errorf("%d are left, want 2", n)
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := w.stored(); n != 1 || len(w.line("uid-2").Events) != 1 {
		t.Errorf("%d are left after the sweep, want that of the record that lives", n)
	}
}

func TestASweepGoesThroughAllPages(t *testing.T) {
	w := newWorld(t)
	for i := range 2*sweepPage + 10 {
		w.Offer(fmt.Sprintf("uid-%04d", i), "a.example.com", t0, Event{Type: "T"})
	}
	w.flush()
	w.set(func() {
		for i := 0; i < 2*sweepPage+10; i += 3 {
			w.ended[fmt.Sprintf("uid-%04d", i)] = true
		}
	})
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, want := w.stored(), (2*sweepPage+10)*2/3; n != want {
		t.Errorf("%d are left, want %d", n, want)
	}
}

func TestAStoreThatIsAwayLosesNothing(t *testing.T) {
	w := newWorld(t)
	w.set(func() { w.down = &store.UnavailableError{Engine: "test", Reason: "it is away"} })
	w.Offer("uid-1", "a.example.com", t0, Event{Type: "T"})
	w.Offer("uid-2", "b.example.com", t0, Event{Type: "T"})
	w.flush()
	w.Offer("uid-1", "a.example.com", t0, Event{Type: "U"})
	w.End("uid-2")
	w.flush()
	if got := told(w.line("uid-1")); len(got) != 2 {
		t.Errorf("while it is away: %q", got)
	}
	w.set(func() { w.down = nil })
	w.flush()
	if got := told(w.line("uid-1")); len(got) != 2 || w.stored() != 1 || w.pending.weight != 0 {
		t.Errorf("once it is back: %q, %d stored, weight %d", got, w.stored(), w.pending.weight)
	}
	if n := w.logs.FilterMessageSnippet("tried again").Len(); n != 1 {
		t.Errorf("it is logged %d times, want once", n)
	}
}

func TestNodesAddToOneLine(t *testing.T) {
	w := newWorld(t)
	other := w.recorder()
	w.race = func() {
		other.Offer("uid-1", "a.example.com", t0, Event{Type: "U"})
		other.write(t.Context(), other.pending.take(w.now(), 1))
	}
	w.Offer("uid-1", "a.example.com", t0, Event{Type: "T"})
	w.flush()
	if got := told(w.line("uid-1")); len(got) != 2 {
		t.Errorf("of two nodes' events %q are kept", got)
	}
}

func TestWhatCannotBeReadIsWrittenOverUnlessItIsNewer(t *testing.T) {
	w := newWorld(t)
	newer := []byte{version + 1, 7}
	_, err := w.store.Write(t.Context(), store.Op{Key: Prefix + "uid-1", Value: []byte{version, 0xff}, If: store.Absent}, store.Op{Key: Prefix + "uid-2", Value: newer, If: store.Absent})
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range []string{"uid-1", "uid-2"} {
		w.Offer(uid, "a.example.com", t0, Event{Type: "T"})
	}
	w.flush()
	if got := told(w.line("uid-1")); len(got) != 1 {
		t.Errorf("a broken one becomes %q", got)
	}
	if _, err := w.Line(t.Context(), "uid-2"); !errors.Is(err, ErrNewer) {
		t.Errorf("a newer one: %v", err)
	}
	if kv, _, err := w.store.Get(t.Context(), Prefix+"uid-2"); err != nil || !slices.Equal(kv.Value, newer) {
		t.Errorf("a newer one becomes %v, %v", kv, err)
	}
}

func TestWhatWaitsIsBounded(t *testing.T) {
	w := newWorld(t)
	for i := range maxPending + 10 {
		w.Offer(fmt.Sprint("uid-", i), "a.example.com", t0, Event{Type: "T"})
	}
	w.End("uid-0")
	w.End("of-a-stranger")
	if n := w.pending.len(); n != maxPending || w.pending.weight != maxPending {
		t.Errorf("%d records wait, of weight %d, want %d", n, w.pending.weight, maxPending)
	}
	if n := w.logs.FilterMessageSnippet("events are missing").Len(); n != 1 {
		t.Errorf("it is logged %d times, want once", n)
	}
}

// Run waits a little for more events of a record, and writes what waits at its end.
func TestRunGathersAndEndsOrderly(t *testing.T) {
	w := newWorld(t)
	w.Recorder.cfg.Now = time.Now
	w.settle = time.Hour
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	for i := range 2 * batchRecords {
		w.Offer(fmt.Sprint("uid-", i), "a.example.com", t0, Event{Type: "T"})
		w.Offer(fmt.Sprint("uid-", i), "a.example.com", t0, Event{Type: "U"})
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if n := w.stored(); n != 2*batchRecords || w.pending.len() != 0 {
		t.Errorf("%d are stored and %d wait, want %d and none", n, w.pending.len(), 2*batchRecords)
	}
}

func TestRunWritesByItself(t *testing.T) {
	w := newWorld(t)
	w.Recorder.cfg.Now = time.Now
	w.settle = time.Millisecond
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	watch, err := w.store.Watch(t.Context(), Prefix, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Close()
	w.Offer("uid-1", "a.example.com", t0, Event{Type: "T"})
	for {
		b, err := watch.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(b.Events) > 0 {
			break
		}
	}
	stop()
	<-ended
}

// BenchmarkOffer measures what an event costs whoever changes a record.
func BenchmarkOffer(b *testing.B) {
	r := New(Config{Lives: func(string, string) bool { return true }})
	e := failure(0, "urn:ietf:params:acme:error:connection: no answer from 192.0.2.1 on port 80")
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		e.At = after(time.Duration(i) * time.Second)
		r.Offer("0b5e3d7e-aaaa-4bbb-8ccc-0123456789ab", "shop.customer.example", t0, e)
	}
}

// BenchmarkBytesOfARecord measures what a million lives would add to a bolt file, each.
func BenchmarkBytesOfARecord(b *testing.B) {
	const records = 100_000
	for b.Loop() {
		path := filepath.Join(b.TempDir(), "test.db")
		st, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			b.Fatal(err)
		}
		before := size(b, path)
		r := New(Config{Store: st, Lives: func(string, string) bool { return true }})
		l := life()
		for i := range records {
			uid := fmt.Sprintf("%08x-aaaa-4bbb-8ccc-%012x", uint32(i)*2654435761, i)
			for _, e := range l.Events {
				r.Offer(uid, fmt.Sprintf("shop.customer-%07d.example", i), t0, e)
			}
			if r.pending.len() == batchRecords {
				r.write(b.Context(), r.pending.take(time.Now(), batchRecords))
			}
		}
		if err := st.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(size(b, path)-before)/records, "B/record")
		b.ReportMetric(float64(len(encode(&l))), "B/value")
	}
}

func size(b *testing.B, path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return info.Size()
}
