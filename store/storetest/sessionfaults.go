package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

func cutOff(t *testing.T, e Shared) {
	p := e.pair(t)
	n := begin(t, p.one, short)
	rev := writeIn(t, n, set("a", "1", store.Any))
	w := watch(t, p.two, "", rev)
	mend := e.Cut(t, p.one)
	vanished(t, w, "a")
	if now := time.Now(); now.Before(n.Until()) {
		t.Errorf("others have seen the end at %v, and the session is to last until %v", now, n.Until())
	}
	ended(t, n)
	mend()
	for {
		again, err := store.SessionsOf(p.one).Begin(within(t), short)
		if err == nil {
			writeIn(t, again, set("a", "2", store.Absent))
			break
		}
		wantErr(t, "Begin", err, store.ErrUnavailable)
		time.Sleep(20 * time.Millisecond)
	}
	refused(t, p.two, n)
}

func outlive(t *testing.T, p pair, fault func(*testing.T) func()) {
	n := begin(t, p.one, long)
	rev := writeIn(t, n, set("a", "1", store.Any))
	back := fault(t)
	for began := time.Now(); n.Until().Before(began.Add(long)); { // until one was answered that was sent after
		select {
		case <-n.Ended():
			t.Fatalf("the session has ended %v after it", time.Since(began))
		case <-time.After(20 * time.Millisecond):
		}
	}
	back()
	for {
		e, _, err := p.two.Get(within(t), "a")
		if err == nil {
			if e.Revision != rev {
				t.Errorf("a stands at %d, want %d", e.Revision, rev)
			}
			break
		}
		if !errors.Is(err, store.ErrUnavailable) {
			t.Fatalf("Get: %v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := n.Close(within(t)); err != nil {
		t.Errorf("Close: %v", err)
	}
}
