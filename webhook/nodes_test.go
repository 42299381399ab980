package webhook_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

// beside runs another node's sender over the world's store; gone says that the others of
// which it takes over what they queued are.
func (w *world) beside(node string, gone *atomic.Bool) *webhook.Sender {
	s := webhook.New(webhook.Config{Store: w.store, Endpoints: w.configured, Now: w.now,
		Node: func() string { return node }, Takes: func(string, string) bool { return gone.Load() }})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			w.t.Error(err)
		}
	})
	w.t.Cleanup(func() { cancel(); running.Wait() })
	return s
}

// What a node has queued is delivered by it alone, and by another once it is gone, which
// takes what it knows of earlier tries with it. Should the first come back, it leaves that
// to the other.
func TestAnotherNodeDeliversForOneThatIsGone(t *testing.T) {
	w, r := quiet(t)
	w.configure(w.to(r))
	var gone atomic.Bool
	a, b := w.beside("a", new(atomic.Bool)), w.beside("b", &gone)
	r.answers(status(http.StatusServiceUnavailable))
	a.Offer(webhook.Event{Type: "apoxy.phase_changed", Name: "x", Message: "one"})
	until(t, "a try", func() bool { return len(r.got()) == 1 })
	until(t, "its failure to be known", func() bool { return a.List()[0].Reason != "" })
	b.NodesChanged()
	if n := b.List()[0].Waiting; n != 0 {
		t.Errorf("%d of a live node's are taken over", n)
	}
	r.answers(nil)
	gone.Store(true)
	b.NodesChanged()
	until(t, "it to be taken over", func() bool { return b.List()[0].Waiting == 1 || len(r.got()) == 2 })
	w.later(time.Minute)
	a.EndpointsChanged()
	b.EndpointsChanged()
	until(t, "it to be delivered", func() bool { return b.List()[0].Waiting == 0 && a.List()[0].Waiting == 0 })
	if all := r.got(); len(all) != 2 || all[0].ID != all[1].ID {
		t.Errorf("it came as %v", all)
	}
}
