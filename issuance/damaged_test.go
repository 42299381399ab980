package issuance

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

// A damaged index entry costs a look into storage, and no order.
func TestADamagedIndexEntryIsMadeAnew(t *testing.T) {
	const bad, good = "bad.example.com", "good.example.com"
	w := newWorld(t)
	wanted := map[string]ownership.CertificateObservation{}
	for _, host := range []string{bad, good} {
		w.dns.delegate(host)
		w.s.Want(Want{Hostname: host, UID: "uid of " + host, DNS01: true})
		wanted[host] = w.until(host, "certified", seen)
	}
	path, placed := filepath.Join(w.dir, "apoxy.db"), w.ca.Placed()
	w.halt()
	storetest.Spoil(t, path, `"uid":"uid of `+bad)
	w.start()
	for host, before := range wanted {
		w.s.Want(Want{Hostname: host, UID: "uid of " + host, DNS01: true})
		if o := w.until(host, "certified", seen); o.SerialNumber != before.SerialNumber {
			t.Errorf("%s has certificate %s, want %s", host, o.SerialNumber, before.SerialNumber)
		}
	}
	if n := w.ca.Placed(); n != placed {
		t.Errorf("%d orders more", n-placed)
	}
	w.wait("the entry that is made anew", func() bool {
		e, _, err := w.store.Get(t.Context(), IndexPrefix+bad)
		return err == nil && CheckIndex(e.Key, e.Value) == nil
	}, func() string { return "it is damaged" })
}

// One damaged value of the ledger stops no orders, and shortens no hold that is
// known.
func TestADamagedLedgerGoesOn(t *testing.T) {
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	now := epoch
	c := &ca{CA: &acme.CA{Key: "ca", Auth: acme.Authority{Directory: "https://ca.test", Budget: acme.Budget{Orders: 3, Per: time.Hour}}}}
	key := budgetPrefix + c.LedgerKey()
	for name, spoil := range map[string]func(){
		"damaged": func() {
			if _, err := st.Write(t.Context(), store.Op{Key: key, Value: []byte("spoil me"), If: store.Any}); err != nil {
				t.Fatal(err)
			}
			storetest.Spoil(t, st.Path(), "spoil me")
		},
		"of no sense": func() {
			if _, err := st.Write(t.Context(), store.Op{Key: key, Value: []byte("{"), If: store.Any}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			now = now.Add(2 * time.Hour)
			known := newLedger(st)
			if err := known.load(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			if ok, err := known.take(t.Context(), c, now); !ok || err != nil {
				t.Fatal(ok, err)
			}
			spoil()
			if err := known.load(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			for i, want := range []bool{true, true, false} { // the first is not forgotten
				if ok, err := known.take(t.Context(), c, now); ok != want || err != nil {
					t.Errorf("order %d: %v, %v", i+2, ok, err)
				}
			}
			spoil()
			fresh := newLedger(st)
			if err := fresh.load(t.Context(), now); err != nil {
				t.Fatal(err)
			}
			if ok, err := fresh.take(t.Context(), c, now); !ok || err != nil {
				t.Errorf("after a restart: %v, %v", ok, err)
			}
		})
	}
	l := newLedger(st)
	if _, err := l.put(t.Context(), c, acme.ScopeCA, "", now.Add(time.Hour), "too many", now); err != nil {
		t.Fatal(err)
	}
	l.apply(holdPrefix+holdKey(c, acme.ScopeCA, ""), []byte("{"), 1<<40, now)
	if _, held := l.heldCA(c, now); !held {
		t.Error("a value of no sense ended a hold")
	}
}
