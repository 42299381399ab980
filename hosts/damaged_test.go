package hosts

import (
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/damage"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

// A record that was damaged before the start is not served, whatever it said;
// all others are, and it goes and comes back by its name.
func TestADamagedRecordIsNotServed(t *testing.T) {
	s := openStore(t, boltstore.Options{})
	bad := record("bad", "bad.test", true)
	bad.UID = "3f9a1c7e5b2d"
	write(t, s, putOp(t, bad), putOp(t, record("good.test", "good.test", true)))
	storetest.Spoil(t, s.Path(), string(bad.UID))
	noting := damage.New(s, nil)
	f := follow(t, noting, Follower{})
	if _, ok := f.table.Get("bad.test"); ok || f.table.Len() != 1 || noting.Damaged() != 1 {
		t.Errorf("%d hosts, %d damaged; want the good one alone", f.table.Len(), noting.Damaged())
	}
	write(t, noting, store.Op{Key: Prefix + "bad", If: store.Any})
	last := write(t, noting, putOp(t, record("bad", "bad.test", false)))
	f.until(t, "the new record", func() bool { h, ok := f.table.Get("bad.test"); return ok && h.Revision == last && !h.Verified })
	if noting.Damaged() != 0 {
		t.Error("what was mended still counts as damaged")
	}
}

// What was served goes on when its stored value is damaged while running, over a
// resynchronization too; its deletion by name ends it.
func TestDamageWhileRunningTakesNothingDown(t *testing.T) {
	s := openStore(t, boltstore.Options{History: 4})
	bad := record("bad", "bad.test", true)
	bad.UID = "3f9a1c7e5b2d"
	write(t, s, putOp(t, bad), putOp(t, record("good.test", "good.test", true)))
	f := follow(t, s, Follower{})
	f.mu.Lock()
	f.hold = make(chan struct{})
	f.mu.Unlock()
	write(t, s, putOp(t, record("held.test", "held.test", true)))
	for i := range 10 { // more than the history holds: all is read again
		write(t, s, store.Op{Key: "filler", Value: []byte{byte(i)}, If: store.Any})
	}
	storetest.Spoil(t, s.Path(), string(bad.UID))
	f.mu.Lock()
	close(f.hold)
	f.hold = nil
	f.mu.Unlock()
	last := write(t, s, putOp(t, record("last.test", "last.test", true)))
	f.until(t, "the reading of all", func() bool { h, ok := f.table.Get("last.test"); return ok && h.Revision == last })
	if h, ok := f.table.Get("bad.test"); !ok || !h.Verified {
		t.Error("what was verified is served no longer")
	}
	write(t, s, store.Op{Key: Prefix + "bad", If: store.Any})
	f.until(t, "the deletion", func() bool { _, ok := f.table.Get("bad.test"); return !ok })
}
