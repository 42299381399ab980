package dnsprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func openStore(t testing.TB) store.Store {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// runSets runs RRsets of the test zone over a store until the test ends.
func runSets(t testing.TB, st store.Store) *RRSets {
	t.Helper()
	sets, err := NewRRSets(st, testZone, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = sets.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := sets.WaitRevision(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	return sets
}

// The methods that issuance asks of whoever publishes challenges.
var _ interface {
	Present(ctx context.Context, hostname, value string) error
	CleanUp(ctx context.Context, hostname, value string) error
} = (*Challenges)(nil)

func texts(t testing.TB, a *Authority, owner string) []string {
	t.Helper()
	var out []string
	for _, rr := range ask(t, a, question(t, owner, dns.TypeTXT), true).Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			if rr.Header().Ttl != 0 {
				t.Errorf("TTL of %v: want 0", rr)
			}
			out = append(out, strings.Join(txt.Txt, ""))
		}
	}
	return out
}

func TestChallenges(t *testing.T) {
	st := openStore(t)
	sets := runSets(t, st)
	// A second server over the same store, as another node has it.
	other := runSets(t, st)
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), sets))
	b := mustAuthority(t, mustZone(t, testConfig(), testRecords(), other))
	c := NewChallenges(sets)
	ctx := t.Context()
	present := func(host, value string) {
		t.Helper()
		if err := c.Present(ctx, host, value); err != nil {
			t.Fatal(err)
		}
	}
	present("api.example.com", "one")
	present("API.example.com.", "two")
	present("api.example.com", "one")
	present("*.wild.example.com", "three")
	present("*.both.example.org", "below")
	present("both.example.org", "own")
	present("plain.example.com", "no tls")
	const owner = "_acme-challenge.api.example.com." + testZone
	if diff := cmp.Diff([]string{"one", "two"}, texts(t, a, owner)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"three"}, texts(t, a, "_acme-challenge.wild.example.com."+testZone)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"below", "own"}, texts(t, a, "_acme-challenge.both.example.org."+testZone)); diff != "" {
		t.Error(diff)
	}
	if err := c.CleanUp(ctx, "*.both.example.org", "below"); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"own"}, texts(t, a, "_acme-challenge.both.example.org."+testZone)); diff != "" {
		t.Error(diff)
	}
	if got := texts(t, a, "_acme-challenge.plain.example.com."+testZone); got != nil {
		t.Errorf("a record without tls answers %v", got)
	}
	if err := other.WaitRevision(ctx, sets.progress.Revision()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"one", "two"}, texts(t, b, owner)); diff != "" {
		t.Errorf("on the other node: %s", diff)
	}
	for _, value := range []string{"one", "one", "never there"} {
		if err := c.CleanUp(ctx, "api.example.com", value); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]string{"two"}, texts(t, a, owner)); diff != "" {
		t.Error(diff)
	}
	if err := c.CleanUp(ctx, "api.example.com", "two"); err != nil {
		t.Fatal(err)
	}
	if got := show(ask(t, a, question(t, owner, dns.TypeTXT), false)); got != "NOERROR aa"+absentSOA {
		t.Errorf("after the last clean-up: %s", got)
	}
	if err := c.Present(ctx, "a b", "x"); err == nil {
		t.Error("no error for a name that is none")
	}
}

func TestManyOrdersForOneName(t *testing.T) {
	sets := runSets(t, openStore(t))
	c := NewChallenges(sets)
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), sets))
	const owner = "_acme-challenge.api.example.com." + testZone
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			value := fmt.Sprint("value", i)
			if err := c.Present(t.Context(), "api.example.com", value); err != nil {
				t.Error(err)
			}
			found := false
			for _, got := range texts(t, a, owner) {
				found = found || got == value
			}
			if !found {
				t.Errorf("%s was not answered after Present returned", value)
			}
			if err := c.CleanUp(t.Context(), "api.example.com", value); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := texts(t, a, owner); got != nil {
		t.Errorf("left behind: %v", got)
	}
}

func TestExpiredValues(t *testing.T) {
	st := openStore(t)
	past, future := time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	value, err := json.Marshal(RRSet{Values: []Value{{Data: "dead", Expires: &past}, {Data: "live", Expires: &future}}})
	if err != nil {
		t.Fatal(err)
	}
	dead, err := json.Marshal(RRSet{Values: []Value{{Data: "dead", Expires: &past}}})
	if err != nil {
		t.Fatal(err)
	}
	const key, deadKey = "rrsets/cname.example.net/_acme-challenge.api.example.com/TXT", "rrsets/cname.example.net/_acme-challenge/TXT"
	if _, err := st.Write(t.Context(), store.Op{Key: key, Value: value, If: store.Any}, store.Op{Key: deadKey, Value: dead, If: store.Any}); err != nil {
		t.Fatal(err)
	}
	sets := runSets(t, st)
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), sets))
	if diff := cmp.Diff([]string{"live"}, texts(t, a, "_acme-challenge.api.example.com."+testZone)); diff != "" {
		t.Error(diff)
	}
	sets.sweep(t.Context())
	entry, _, err := st.Get(t.Context(), key)
	if err != nil || strings.Contains(string(entry.Value), "dead") {
		t.Errorf("after the sweep: %s, %v", entry.Value, err)
	}
	if _, _, err := st.Get(t.Context(), deadKey); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after the sweep: %v", err)
	}
}

func TestStrangeKeysAreIgnored(t *testing.T) {
	st := openStore(t)
	for key, value := range map[string]string{
		"rrsets/cname.example.net/x/TXT":          `{`,
		"rrsets/cname.example.net/y/NOTYPE":       `{}`,
		"rrsets/cname.example.net/z":              `{}`,
		"rrsets/cname.example.net/a/A":            `{"values":[{"data":"::1"}]}`,
		"rrsets/cname.example.net/good/A":         `{"ttl":9,"values":[{"data":"192.0.2.7"}]}`,
		"rrsets/cname.example.network/stranger/A": `{"ttl":9,"values":[{"data":"192.0.2.8"}]}`,
	} {
		if _, err := st.Write(t.Context(), store.Op{Key: key, Value: []byte(value), If: store.Any}); err != nil {
			t.Fatal(err)
		}
	}
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), runSets(t, st)))
	if got := show(ask(t, a, question(t, "good."+testZone, dns.TypeA), false)); got != "NOERROR aa\ngood.cname.example.net. 9 IN A 192.0.2.7" {
		t.Error(got)
	}
	for _, owner := range []string{"a.", "x.", "y.", "z.", "stranger."} {
		if got := show(ask(t, a, question(t, owner+testZone, dns.TypeA), false)); !strings.HasPrefix(got, "NXDOMAIN") {
			t.Errorf("%s %s", owner, got)
		}
	}
}

func TestEmptyNonTerminalsFollowRRSets(t *testing.T) {
	sets := runSets(t, openStore(t))
	a := mustAuthority(t, mustZone(t, testConfig(), records{}, sets))
	rcode := func(owner string) int { return ask(t, a, question(t, owner+"."+testZone, dns.TypeA), false).Rcode }
	for _, keep := range []bool{true, false} {
		for _, owner := range []string{"a.b.c", "x.b.c"} {
			err := sets.Update(t.Context(), owner, "A", func(s *RRSet) error {
				s.Values = nil
				if keep {
					s.Values = []Value{{Data: "192.0.2.1"}}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		want := dns.RcodeNameError
		if keep {
			want = dns.RcodeSuccess
		}
		for _, owner := range []string{"a.b.c", "x.b.c", "b.c", "c"} {
			if got := rcode(owner); got != want {
				t.Errorf("%s: %s", owner, dns.RcodeToString[got])
			}
		}
	}
}

// gate is a store whose watches can be held up.
type gate struct {
	store.Store
	open chan struct{}
}

func (g *gate) Watch(ctx context.Context, prefix string, after int64) (store.Watcher, error) {
	w, err := g.Store.Watch(ctx, prefix, after)
	return &gatedWatcher{w, g}, err
}

type gatedWatcher struct {
	store.Watcher
	gate *gate
}

func (w *gatedWatcher) Next(ctx context.Context) (store.Batch, error) {
	select {
	case <-ctx.Done():
		return store.Batch{}, ctx.Err()
	case <-w.gate.open:
		return w.Watcher.Next(ctx)
	}
}

// A reader that fell behind the store's history reads everything again: what
// was put meanwhile is answered, what was deleted meanwhile is not.
func TestFallingBehindTheHistory(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Options{History: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	writer := runSets(t, st)
	put := func(owner string, values ...Value) {
		t.Helper()
		if err := writer.Update(t.Context(), owner, "A", func(s *RRSet) error { s.Values = values; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	put("old", Value{Data: "192.0.2.1"})
	g := &gate{st, make(chan struct{})}
	reader := runSets(t, g)
	a := mustAuthority(t, mustZone(t, testConfig(), records{}, reader))
	if got := ask(t, a, question(t, "old."+testZone, dns.TypeA), false); len(got.Answer) != 1 {
		t.Fatal(got)
	}
	put("old")
	for i := range 10 {
		put(fmt.Sprint("new", i), Value{Data: "192.0.2.2"})
	}
	close(g.open)
	if err := reader.WaitRevision(t.Context(), writer.progress.Revision()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, a, question(t, "old."+testZone, dns.TypeA), false); got.Rcode != dns.RcodeNameError {
		t.Errorf("deleted meanwhile: %v", got)
	}
	if got := ask(t, a, question(t, "new0."+testZone, dns.TypeA), false); len(got.Answer) != 1 {
		t.Errorf("put meanwhile: %v", got)
	}
}

func TestRunEndsWithTheStore(t *testing.T) {
	st := openStore(t)
	sets, err := NewRRSets(st, testZone, nil)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- sets.Run(context.Background()) }()
	if err := sets.WaitRevision(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, store.ErrClosed) {
		t.Errorf("error %v", err)
	}
}

// heldPeers notes what is acknowledged, and holds its server up at that until it may go on.
type heldPeers struct {
	acked chan int64
	goOn  chan struct{}
}

func (p heldPeers) Acknowledge(revision int64) {
	p.acked <- revision
	<-p.goOn
}

func (heldPeers) Confirm(context.Context, int64) error { return nil }

// What a server that fell behind the history has read anew is acknowledged as well:
// others wait for that.
func TestReadingAnewIsAcknowledged(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "test.db"), boltstore.Options{History: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	writer := NewChallenges(runSets(t, st))
	sets, err := NewRRSets(st, testZone, nil)
	if err != nil {
		t.Fatal(err)
	}
	peers := heldPeers{make(chan int64, 100), make(chan struct{})}
	sets.SharedWith(peers)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = sets.Run(ctx) }()
	free := sync.OnceFunc(func() { close(peers.goOn) })
	t.Cleanup(func() { free(); cancel(); <-done })
	if err := sets.WaitRevision(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if err := writer.Present(t.Context(), "first.example.com", "value"); err != nil {
		t.Fatal(err)
	}
	<-peers.acked // and it is held up
	for i := range 20 {
		if err := writer.Present(t.Context(), fmt.Sprintf("h%d.example.com", i), "value"); err != nil {
			t.Fatal(err)
		}
	}
	_, last, err := st.Get(t.Context(), "none")
	if !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	free()
	for {
		select {
		case acked := <-peers.acked:
			if acked >= last {
				return
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("revision %d is not acknowledged, though all up to it was read anew: %v", last, sets.WaitRevision(t.Context(), last))
		}
	}
}
