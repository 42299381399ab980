package issuance

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/revocation"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// FuzzIndexRecord reads anything as a record of the index. What is read is
// written and read as the same again, and an entry in memory, packed or loose,
// tells of it what the record itself does.
func FuzzIndexRecord(f *testing.F) {
	burnt := lasting("ff01", "a2V5.AP8B")
	burnt.OCSP = &revocation.OCSP{Poll: 5, Revoked: 7, Due: 9, Burnt: "x"}
	troubled := dossier{Trouble: &trouble{Class: acme.ClassRefused, Count: -1, Failed: []int64{1, 2}, Refused: []string{someCA}}, Order: &acme.Order{CA: someCA}}
	for _, r := range []dossier{{}, lasting("5a3f", ""), lasting("3ff", "a2V5.A_8"), lasting("0a", "a2V5.Wj8"), burnt, troubled} {
		f.Add(r.marshal(), someUID, "tenant", byte(3))
	}
	for _, raw := range []string{`null`, `[]`, `{"notAfter":-1}`, `{"notAfter":4294967296}`, `{"notAfter":1,"serial":"zz"}`, `{"notAfter":1,"ari":{"id":"."}}`,
		`{"uid":"5F0C1F66-6D3C-4F0E-9D5E-0123456789AB","notAfter":1}`, `{"notAfter":1,"serial":"` + "\xff" + `"}`, `{"serial":"5a","ca":"x"}`} {
		f.Add([]byte(raw), "", "", byte(0))
	}
	f.Fuzz(func(t *testing.T, raw []byte, uid, owner string, wants byte) {
		hostname, r, err := decodeDossier(IndexPrefix+"a.example.com", raw)
		if err != nil {
			return
		}
		_, again, err := decodeDossier(IndexPrefix+hostname, r.marshal())
		if err != nil || !bytes.Equal(again.marshal(), r.marshal()) {
			t.Fatalf("%s is written as %s and read as %s (%v)", raw, r.marshal(), again.marshal(), err)
		}
		w := Want{Hostname: hostname, UID: uid, Owner: owner, DNS01: wants&1 != 0, HTTP01: wants&2 != 0, Since: int64(wants >> 4)}
		e := &entry{hostname: hostname, wanted: wants&4 == 0, since: w.Since * int64(time.Second)}
		if !e.wanted {
			w = Want{Hostname: hostname}
		}
		e.set(w, r)
		renewal, notAfter := e.times()
		if got := e.dossier(); !reflect.DeepEqual(got, r) || e.want() != w {
			t.Fatalf("given\n%+v\n%+v the entry has\n%+v\n%+v", w, r, e.want(), got)
		}
		if renewal != r.Renewal || notAfter != r.NotAfter || e.has() != r.has() || e.empty() != r.empty() || e.serialNumber() != r.Serial {
			t.Fatalf("%+v: times %d, %d, has %v, empty %v, serial %q", r, renewal, notAfter, e.has(), e.empty(), e.serialNumber())
		}
		if wantStep, wantAt := r.poll(); e.wanted && r.ARI != nil {
			if step, at := e.poll(); step != wantStep || !at.Equal(wantAt) {
				t.Fatalf("%+v: to be asked %v at %v, want %v at %v", r, step, at, wantStep, wantAt)
			}
		}
		r.schedule(hostname, 0)
	})
}

// FuzzLedger reads anything as the ledger's holds and spent orders. Neither
// stops a CA for longer than one may ask for nor lets more orders out than the
// budget has, and what was spent is written and read as so much again.
func FuzzLedger(f *testing.F) {
	for _, seed := range []string{
		`{"until":"2026-01-01T00:10:00Z","reason":"too many","count":1}`, `{"until":"9999-12-31T23:59:59Z","reason":""}`, `{"until":"0001-01-01T00:00:00Z"}`,
		`{"slot":108000000000,"spent":{"16500000":2,"16500001":1}}`, `{"slot":1,"spent":{"9223372036854775807":1}}`, `{"slot":9223372036854775807,"spent":{"2":1}}`,
		`{"slot":108000000000,"spent":{"16500000":-5}}`, `{"slot":108000000000,"spent":{"16500000":9223372036854775807,"16500001":9223372036854775807}}`,
		`{"slot":0,"spent":{}}`, `{"slot":1000,"spent":{"x":1}}`, `null`, `{"slot":1,"spent":{"+1":1,"01":1,"1":1}}`,
		`{"full":"2026-01-02T04:04:05Z","each":3600000000000}`, `{"full":"9999-12-31T23:59:59Z","each":1}`, `{"full":"0000-01-01T00:00:00Z","each":9223372036854775807}`,
	} {
		f.Add([]byte(seed), int64(0))
	}
	c := &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test", Budget: acme.Budget{Orders: 3, Per: 3 * time.Hour}}}}
	f.Fuzz(func(t *testing.T, raw []byte, offset int64) {
		now := epoch.Add(time.Duration(offset % int64(10*365*24*time.Hour)))
		l := newLedger(nil)
		for _, s := range []acme.Scope{acme.ScopeCA, acme.ScopeDomain, acme.ScopeName} {
			l.apply(holdPrefix+holdKey(c, s, "a.example.com"), raw, 1, now)
		}
		if h, held := l.held(c, "a.example.com", now); held && (!h.Until.After(now) || h.Until.Sub(now) > 2*acme.LongestHold) {
			t.Fatalf("%s holds from %v until %v", raw, now, h.Until)
		}
		l.apply(budgetPrefix+c.LedgerKey(), raw, 1, now)
		if room := l.room(c, now); room < 0 || room > 3 {
			t.Fatalf("%s leaves room for %d orders of 3", raw, room)
		}
		if at := l.free(c, now); at.Before(now) || at.After(now.Add(2*c.Auth.Budget.Per)) {
			t.Fatalf("%s: free at %v, %v later", raw, at, at.Sub(now))
		}
		if d := l.forecast(c, now, 10); d < 0 {
			t.Fatalf("%s: a wait of %v", raw, d)
		}
		k := l.bucket(c, now)
		again, err := decodeBucket(k.marshal())
		if err != nil || again.room(c.Auth.Budget, now) != k.room(c.Auth.Budget, now) {
			t.Fatalf("%s: %v is written as %s and read as %v (%v)", raw, k, k.marshal(), again, err)
		}
		taken := 0
		for ok := true; ok; taken++ {
			if k, ok = k.take(c.Auth.Budget, now); ok && taken >= 3 {
				t.Fatalf("%s lets more than 3 orders out", raw)
			}
		}
	})
}

// FuzzRenewalInfo reads anything as a CA's renewal information (RFC 9773
// section 4.2). Whatever the window says, the certificate is renewed while a
// tenth of its life is left at the latest, the point depends on the certificate
// alone, and the CA is asked again within a minute and a day.
func FuzzRenewalInfo(f *testing.F) {
	for _, seed := range []string{
		`{"suggestedWindow":{"start":"2026-03-01T00:00:00Z","end":"2026-03-02T00:00:00Z"},"explanationURL":"https://ca.test"}`,
		`{"suggestedWindow":{"start":"0000-01-01T00:00:00Z","end":"9999-12-31T23:59:59Z"}}`, `{"suggestedWindow":{"start":"2026-03-02T00:00:00Z","end":"2026-03-01T00:00:00Z"}}`,
		`{"suggestedWindow":{"start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:00:01Z"}}`, `{"suggestedWindow":{"start":"9999-12-31T23:59:58Z","end":"9999-12-31T23:59:59Z"}}`,
		`{}`, `null`, `{"suggestedWindow":{"start":"2026-03-01T00:00:00.5Z","end":"2026-03-01T00:00:00.6Z"}}`,
	} {
		f.Add([]byte(seed), int64(90*24*3600), int64(3600), 0.0)
	}
	f.Fuzz(func(t *testing.T, raw []byte, seconds, asked int64, ratio float64) {
		var info acmez.RenewalInfo
		if json.Unmarshal(raw, &info) != nil {
			return
		}
		life := time.Duration(seconds%(100*365*24*3600)) * time.Second
		r := dossier{Serial: "5a3f", NotBefore: epoch.Unix(), NotAfter: epoch.Add(life).Unix()}
		after := epoch.Add(time.Duration(asked))
		poll := revocation.PollARI(epoch, &after)
		if poll.Before(epoch.Add(time.Minute)) || poll.After(epoch.Add(24*time.Hour)) {
			t.Fatalf("asked again at %v", poll)
		}
		info.UniqueIdentifier = "id"
		r.setARI(&info, poll)
		r.schedule("a.example.com", ratio)
		latest := max(r.NotAfter, r.NotAfter-int64(lastResort(life)/time.Second))
		if life > 0 {
			latest = times.Unix(r.NotAfter).Add(-lastResort(life)).Unix() + 1
			if r.ARI == nil { // the operator's own ratio may be any
				latest = r.NotAfter + int64(life/time.Second)/30
			}
		}
		if r.Renewal > latest {
			t.Fatalf("%s: renewal at %v of a certificate of %v from %v", raw, times.Unix(r.Renewal), life, epoch)
		}
		_, back, err := decodeDossier(IndexPrefix+"a.example.com", r.marshal())
		if err != nil {
			t.Fatal(err)
		}
		due := back.Renewal
		if back.schedule("a.example.com", ratio); back.Renewal != due {
			t.Fatalf("%s: the point moves from %v to %v when the record is read again", raw, times.Unix(due), times.Unix(back.Renewal))
		}
	})
}

// What cannot be read of the ledger is written anew: an order needs it.
func TestADamagedBudgetDoesNotStopACA(t *testing.T) {
	c := &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test", Budget: acme.Budget{Orders: 2, Per: 3 * time.Hour}}}}
	for _, damaged := range []string{`{"slot":`, `{"slot":0}`, `{"slot":1000000000,"spent":{"1":-7}}`, `{"slot":9223372036854775807,"spent":{"9":1}}`,
		`{"full":"2026-01-02T04:04:05Z"}`, `{"full":"2026-01-02T04:04:05Z","each":-1}`} {
		st := damagedStore(t, budgetPrefix+c.LedgerKey(), damaged)
		l := newLedger(st)
		if err := l.load(t.Context(), epoch); err != nil {
			t.Fatal(err)
		}
		for i := range 3 {
			taken, err := l.take(t.Context(), c, epoch)
			if err != nil || taken != (i < 2) {
				t.Errorf("%s: order %d: %v, %v", damaged, i, taken, err)
			}
		}
		fresh := newLedger(st)
		if err := fresh.load(t.Context(), epoch); err != nil || fresh.room(c, epoch) != 0 {
			t.Errorf("%s: the store remembers room for %d (%v)", damaged, fresh.room(c, epoch), err)
		}
	}
}

// A hold past all bounds is of a clock that ran ahead, or damaged.
func TestAHoldPastAllBoundsIsForgotten(t *testing.T) {
	c := &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test"}}}
	st := damagedStore(t, holdPrefix+holdKey(c, acme.ScopeCA, ""), `{"until":"9999-12-31T23:59:59Z","reason":"too many"}`)
	l := newLedger(st)
	if err := l.load(t.Context(), epoch); err != nil {
		t.Fatal(err)
	}
	if h, held := l.heldCA(c, epoch); held {
		t.Errorf("held until %v", h.Until)
	}
	if res, err := st.List(t.Context(), LedgerPrefix, store.ListOptions{}); err != nil || len(res.KeyValues) != 0 {
		t.Errorf("the store keeps %d entries (%v)", len(res.KeyValues), err)
	}
}

func damagedStore(t *testing.T, key, value string) store.Store {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	if _, err := st.Write(t.Context(), store.Op{Key: key, Value: []byte(value), If: store.Any}); err != nil {
		t.Fatal(err)
	}
	return st
}
