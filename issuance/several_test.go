package issuance

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// second adds another CA behind the first.
func (w *world) second() *acmetest.CA {
	ca := acmetest.New(w.t)
	ca.Validate = w.ca.Validate
	w.is.Set("second", acme.Authority{Directory: ca.Directory(), Email: "ops@example.net"}, w.magic, nil)
	return ca
}

func TestTheNextCAIsTriedWhileTheFirst(t *testing.T) {
	for name, in := range map[string]acmetest.Answer{
		"is held":     {Status: 429, Header: map[string]string{"Retry-After": "3600"}, Problem: acmez.Problem{Type: acmez.ProblemTypeRateLimited, Detail: "too many new orders"}},
		"is down":     {Status: 500, Problem: acmez.Problem{Type: acmez.ProblemTypeServerInternal}},
		"refuses":     {Status: 400, Problem: acmez.Problem{Type: acmez.ProblemTypeRejectedIdentifier, Detail: "policy"}},
		"has no room": {Status: 403, Problem: acmez.Problem{Type: acmez.ProblemTypeExternalAccountRequired}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.ca.Inject = func(path string) *acmetest.Answer {
				if path == "order" {
					return &in
				}
				return nil
			}
			other := w.second()
			w.dns.delegate("api.example.com")
			w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
			w.until("api.example.com", "certified", seen)
			if other.Placed() != 1 {
				t.Errorf("%d orders at the second", other.Placed())
			}
		})
	}
}

func TestARecordPicksItsCA(t *testing.T) {
	w := newWorld(t)
	other := w.second()
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true, CertificateAuthority: other.Directory()})
	w.until("api.example.com", "certified", seen)
	if other.Placed() != 1 || w.ca.Placed() != 0 {
		t.Errorf("%d orders at the one picked, %d at the first", other.Placed(), w.ca.Placed())
	}
	w.dns.delegate("b.example.com")
	w.s.Want(Want{Hostname: "b.example.com", UID: "u2", DNS01: true, CertificateAuthority: "nobody"})
	o := w.until("b.example.com", "refused", worked(ownership.WorkFailed))
	if !strings.Contains(o.Message, `"nobody" is not configured; configured are 127.0.0.1`) {
		t.Errorf("message %q", o.Message)
	}
}

func TestTheOrderBudgetHoldsAndTheQueueTellsItsPlace(t *testing.T) {
	w := newWorld(t)
	w.is.Set(w.magic.Issuers[0], acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", Budget: acme.Budget{Orders: 3, Per: time.Hour}}, w.magic, nil)
	for i := range 10 {
		h := fmt.Sprintf("h%d.example.com", i)
		w.dns.delegate(h)
		w.s.Want(Want{Hostname: h, UID: h, DNS01: true})
	}
	certified := func() (n int) {
		for i := range 10 {
			if seen(w.s.Observe(fmt.Sprintf("h%d.example.com", i))) {
				n++
			}
		}
		return n
	}
	w.wait("three certificates", func() bool { return certified() == 3 }, func() string { return fmt.Sprint(certified()) })
	var waiting ownership.CertificateObservation
	w.wait("the rest to queue", func() bool {
		n := 0
		for i := range 10 {
			if o := w.s.Observe(fmt.Sprintf("h%d.example.com", i)); o.Work == ownership.WorkQueued && strings.Contains(o.Message, "3 orders per 1 h") {
				waiting, n = o, n+1
			}
		}
		return n == 7
	}, func() string { return fmt.Sprint(waiting) })
	if w.ca.Placed() != 3 {
		t.Errorf("%d orders", w.ca.Placed())
	}
	w.halt() // a restart forgets nothing
	w.start()
	w.is.Set(w.magic.Issuers[0], acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", Budget: acme.Budget{Orders: 3, Per: time.Hour}}, w.magic, nil)
	w.s.Want(Want{Hostname: "h9.example.com", UID: "x", DNS01: true})
	w.s.Want(Want{Hostname: "h8.example.com", UID: "x", DNS01: true})
	w.until("h8.example.com", "queued or done", func(o ownership.CertificateObservation) bool { return o.Work == ownership.WorkQueued || seen(o) })
	if w.ca.Placed() != 3 {
		t.Errorf("%d orders after the restart", w.ca.Placed())
	}
}

// What counts is when the customer was ready, not when this process learnt of it.
func TestTheFirstToBeReadyIsServedFirst(t *testing.T) {
	w := newWorld(t)
	w.is.Set(w.magic.Issuers[0], acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", Budget: acme.Budget{Orders: 1, Per: time.Hour}}, w.magic, nil)
	w.dns.delegate("spends.example.com")
	w.s.Want(Want{Hostname: "spends.example.com", UID: "u0", DNS01: true})
	w.until("spends.example.com", "certified", seen)
	now := time.Now().Unix()
	for host, since := range map[string]int64{"young.example.com": now - 10, "old.example.com": now - 1000, "middle.example.com": now - 100} {
		w.s.Want(Want{Hostname: host, UID: host, DNS01: true, Since: since})
		w.until(host, "queued", worked(ownership.WorkQueued))
	}
	w.s.entries.mu.Lock()
	defer w.s.entries.mu.Unlock()
	if len(w.s.entries.lanes) != 1 {
		t.Fatalf("%d lanes", len(w.s.entries.lanes))
	}
	for _, l := range w.s.entries.lanes {
		var got []string
		for w, ok := l.queue.Pop(); ok; w, ok = l.queue.Pop() {
			got = append(got, w.entry.hostname)
		}
		if want := []string{"old.example.com", "middle.example.com", "young.example.com"}; !slices.Equal(got, want) {
			t.Errorf("in the order %v, want %v", got, want)
		}
	}
}

// Whose name servers are slow keeps its turn at a budget that all wait for.
func TestASlowCustomerKeepsItsTurn(t *testing.T) {
	w := newWorld(t)
	w.is.Set(w.magic.Issuers[0], acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", Budget: acme.Budget{Orders: 1, Per: time.Second}}, w.magic, nil)
	now := time.Now().Unix()
	want := func(host string, since int64) {
		w.dns.delegate(host)
		w.s.Want(Want{Hostname: host, UID: host, DNS01: true, Since: since})
	}
	want("spends.example.com", now)
	w.until("spends.example.com", "certified", seen)
	w.dns.mu.Lock()
	w.dns.slow["old.example.com"] = 300 * time.Millisecond
	w.dns.mu.Unlock()
	want("old.example.com", now-1000)
	for i := range 3 {
		want(fmt.Sprint("young", i, ".example.com"), now-int64(i))
	}
	w.wait("the second order", func() bool { return w.ca.Placed() >= 2 }, func() string { return "" })
	if got := w.ca.Order(1).Host; got != "old.example.com" {
		t.Errorf("the second order is for %s, want the hostname that had waited longest", got)
	}
	w.wait("the others", func() bool { return w.ca.Placed() == 5 }, func() string { return fmt.Sprint(w.ca.Placed()) })
}

// The place that is told allows for turns: another tenant's bulk is not before
// everybody else.
func TestTheQueueTellsEachTenantItsPlace(t *testing.T) {
	w := newWorld(t)
	w.is.Set(w.magic.Issuers[0], acme.Authority{Directory: w.ca.Directory(), Email: "ops@example.net", Budget: acme.Budget{Orders: 2, Per: time.Hour}}, w.magic, nil)
	want := func(host, owner string) {
		w.dns.delegate(host)
		w.s.Want(Want{Hostname: host, UID: host, Owner: owner, DNS01: true})
	}
	for i := range 2 {
		want(fmt.Sprint("spends", i, ".example.com"), "bulk")
		w.until(fmt.Sprint("spends", i, ".example.com"), "certified", seen)
	}
	for i := range 150 {
		want(fmt.Sprint("h", i, ".example.com"), "bulk")
	}
	want("only.example.org", "small")
	for host, says := range map[string]*regexp.Regexp{
		// Whether the first of the bulk had its turn before the other tenant came is open.
		"only.example.org": regexp.MustCompile(`about (1 h: 1|30 min: 0) before it at 2 orders per 1 h$`),
		"h149.example.com": regexp.MustCompile(`d: 150 before it at 2 orders per 1 h$`),
	} {
		var o ownership.CertificateObservation
		w.wait("the place of "+host, func() bool {
			o = w.s.Observe(host)
			return o.Work == ownership.WorkQueued && says.MatchString(o.Message)
		}, func() string { return o.Message })
	}
}

// A CA may ask for very many names to be left alone, and nobody restarts for it.
func TestHoldsThatAreLongPastAreForgottenEveryHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		l := newLedger(st)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); l.tidyHourly(ctx, time.Now, zap.NewNop()) }()
		c := &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test"}}}
		if _, err := l.put(ctx, c, acme.ScopeName, "a.example.com", time.Now().Add(time.Minute), "too many", time.Now()); err != nil {
			t.Fatal(err)
		}
		left := func() int {
			synctest.Wait()
			res, err := st.List(ctx, LedgerPrefix, store.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			if len(res.KeyValues) != len(l.holds) {
				t.Errorf("%d in the store, %d in memory", len(res.KeyValues), len(l.holds))
			}
			return len(l.holds)
		}
		time.Sleep(24 * time.Hour)
		if left() != 1 {
			t.Error("it was forgotten too soon: its count of pauses is still needed")
		}
		time.Sleep(2 * time.Hour)
		if left() != 0 {
			t.Error("it was not forgotten")
		}
		cancel()
		<-done
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestIssuersComeAndGo(t *testing.T) {
	w := newWorld(t)
	w.s.DropIssuers(w.is)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "parked", worked(ownership.WorkQueued))
	if !strings.Contains(o.Mend, "issuer apoxy") {
		t.Errorf("mend %q", o.Mend)
	}
	w.s.SetIssuers(w.is)
	w.until("api.example.com", "certified", seen)
}

func TestForgettingStopsEverythingAndKeepsWhoseItWas(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("api.example.com")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", Owner: "a", DNS01: true})
	before := w.until("api.example.com", "certified", seen)
	w.s.Forget("api.example.com")
	if o := w.s.Observe("api.example.com"); o.Outcome != ownership.Seen || o.RecordUID != "u1" {
		t.Errorf("observed %+v", o)
	}
	if err := w.magic.RenewCertSync(context.Background(), "api.example.com", true); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("renewing: %v", err)
	}
	w.s.Want(Want{Hostname: "api.example.com", UID: "u2", Owner: "a"})
	if o := w.s.Observe("api.example.com"); o.SerialNumber != before.SerialNumber || o.RecordUID != "u1" || o.RecordOwner != "a" {
		t.Errorf("for the same tenant: %+v", o)
	}
	w.s.Want(Want{Hostname: "api.example.com", UID: "u3", Owner: "b"})
	if o := w.s.Observe("api.example.com"); o.Outcome != ownership.Absent {
		t.Errorf("for another tenant: %+v", o)
	}
	w.until("api.example.com", "the first tenant's certificate is removed", func(ownership.CertificateObservation) bool {
		return !w.magic.Storage.Exists(t.Context(), certmagic.StorageKeys.SitePrivateKey(w.is.list[0].ca.Key, "api.example.com"))
	})
}

func largeIndex(n int) *memStore {
	mem, now := &memStore{}, time.Now()
	for i := range n {
		r := dossier{UID: fmt.Sprint("u", i), CA: "acme-v02.api.letsencrypt.org-directory", Issuer: "Let's Encrypt R11", Serial: fmt.Sprintf("%036x", i),
			NotBefore: now.Add(-time.Hour).Unix(), NotAfter: now.Add(89 * 24 * time.Hour).Unix(), Renewal: now.Add(60 * 24 * time.Hour).Unix(), Challenge: "dns-01"}
		mem.entries = append(mem.entries, store.KeyValue{Key: fmt.Sprintf("%sh%07d.example.com", IndexPrefix, i), Value: r.marshal(), Revision: int64(i + 1)})
	}
	return mem
}

func TestAnIndexOfManyPagesIsReadWhole(t *testing.T) {
	const n = 25_000
	s := New(Config{Store: largeIndex(n)})
	readIndex(t, s)
	for i := range n {
		if o := s.Observe(fmt.Sprintf("h%07d.example.com", i)); o.RecordUID != fmt.Sprint("u", i) {
			t.Fatalf("%d: observed %+v", i, o)
		}
	}
}

func BenchmarkLoad100k(b *testing.B) {
	mem := largeIndex(100_000)
	for b.Loop() {
		readIndex(b, New(Config{Store: mem}))
	}
}

// readIndex has a scheduler read its store.
func readIndex(t testing.TB, s *Scheduler) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.follow(ctx) }()
	if _, err := s.Indexed(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	<-ended
}

// Watch of a memStore tells nothing.
func (m *memStore) Watch(context.Context, string, int64) (store.Watcher, error) {
	return stillWatcher{}, nil
}

type stillWatcher struct{}

func (stillWatcher) Next(ctx context.Context) (store.Batch, error) {
	<-ctx.Done()
	return store.Batch{}, ctx.Err()
}

func (stillWatcher) Close() {}

// memStore is a store that only lists.
type memStore struct {
	store.Store
	entries []store.KeyValue
}

func (m *memStore) List(_ context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	var res store.ListResult
	from := sort.Search(len(m.entries), func(i int) bool { return m.entries[i].Key > o.After })
	for i, e := range m.entries[from:] {
		if !strings.HasPrefix(e.Key, prefix) {
			continue
		}
		if len(res.KeyValues) == o.Limit && o.Limit > 0 {
			res.More, res.Remaining = true, int64(len(m.entries)-from-i)
			break
		}
		res.KeyValues = append(res.KeyValues, e)
	}
	return res, nil
}
