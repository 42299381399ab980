package webhook_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

func (w *world) to(r *receiver) webhook.Endpoint {
	return webhook.Endpoint{URL: r.URL + "/hooks?token=s3cret", Secrets: []webhook.Secret{secret(w.t, secretKey)}}
}

// quiet returns the world without endpoints and a receiver.
func quiet(t *testing.T) (*world, *receiver) { return newWorld(t), newReceiver(t) }

func TestEventsArriveSignedInOrderAndOnce(t *testing.T) {
	w, r := quiet(t)
	e := w.to(r)
	e.Secrets = append([]webhook.Secret{secret(t, "another one of 24 bytes!")}, e.Secrets...) // while it is replaced
	w.configure(e)
	var want []string
	for i := range 50 {
		name := fmt.Sprintf("a%02d", i)
		want = append(want, name)
		w.Offer(webhook.Event{Type: "apoxy.condition_changed", At: w.now(), Name: "one.example.com", Message: name})
	}
	until(t, "all", func() bool { return len(r.got()) >= 50 })
	until(t, "an empty queue", w.waiting(0))
	if got := r.heard(); !slices.Equal(got, want) {
		t.Errorf("one record's events came as %v", got)
	}
	if record := string(r.got()[0].Record); record != `{"metadata":{"name":"one.example.com"}}` {
		t.Errorf("the record is %s", record)
	}
	if res, err := w.store.List(t.Context(), webhook.Prefix+"queue/", store.ListOptions{}); err != nil || len(res.KeyValues) != 0 {
		t.Errorf("after delivery the store still has %d entries, %v", len(res.KeyValues), err)
	}
}

func TestAnEndpointIsToldOfTheEventsItWants(t *testing.T) {
	w, r := quiet(t)
	e := w.to(r)
	e.Events = []string{"apoxy.record_deleted"}
	w.configure(e)
	w.offer("unwanted")
	w.Offer(webhook.Event{Type: "apoxy.record_deleted", Name: "n", Message: "wanted", Once: "uid"})
	w.Offer(webhook.Event{Type: "apoxy.record_deleted", Name: "n", Message: "again", Once: "uid"}) // of another node
	w.Offer(webhook.Event{Type: "apoxy.record_deleted", Name: "n", Message: "last", Once: "uid2"})
	until(t, "the last", func() bool { return slices.Contains(r.heard(), "last") })
	if got := r.heard(); got[0] != "wanted" || slices.Contains(got, "unwanted") {
		t.Errorf("it heard %v", got)
	}
	ids := map[string]string{}
	for _, g := range r.got() {
		if had, ok := ids[g.ID]; ok && had != "wanted" {
			t.Errorf("%s and %s have one id", had, g.Message)
		}
		ids[g.ID] = g.Message
	}
	if len(ids) != 2 {
		t.Errorf("two events have the ids %v", ids)
	}
}

// What is in the queue when the process ends comes after the next start, what was under
// way then among it, with the id that it had.
func TestACrashLosesNothing(t *testing.T) {
	w, r := quiet(t)
	cut := make(chan struct{})
	r.answers(func(_ http.ResponseWriter, req *http.Request) { // it has it, and its answer never comes
		<-cut
		<-req.Context().Done()
	})
	w.configure(w.to(r))
	w.offer("a", "b", "c", "d", "e", "f")
	until(t, "the first on their way", func() bool { return len(r.got()) >= 4 })
	until(t, "all queued", w.waiting(6))
	close(cut)
	w.stop()
	before := r.got()
	r.answers(nil)
	w.start()
	until(t, "an empty queue", func() bool { return len(r.got()) >= len(before)+6 && w.waiting(0)() })
	ids := map[string]string{}
	for _, g := range r.got() {
		if id, ok := ids[g.Message]; ok && id != g.ID {
			t.Errorf("%s came as %s and as %s", g.Message, id, g.ID)
		}
		ids[g.Message] = g.ID
	}
	if len(ids) != 6 {
		t.Errorf("it heard of %v", ids)
	}
}

func TestAReceiverThatComesBack(t *testing.T) {
	w, r := quiet(t)
	r.answers(status(http.StatusServiceUnavailable))
	w.configure(w.to(r))
	w.offer("a", "b", "c")
	for tries := 1; tries <= 4; tries++ {
		w.passing(fmt.Sprintf("try %d", tries), func() bool { return len(r.got()) >= tries })
	}
	until(t, "what is known of it", func() bool { return w.List()[0].Reason != "" })
	if s := w.List()[0]; s.Waiting != 3 || !strings.Contains(s.Reason, "503") || s.LastFailure.IsZero() || strings.Contains(fmt.Sprint(s), "s3cret") {
		t.Errorf("it is listed as %+v", s)
	}
	r.answers(nil)
	w.passing("an empty queue", w.waiting(0))
	stamps := map[string][]string{}
	for _, g := range r.got() {
		stamps[g.ID] = append(stamps[g.ID], g.Stamp)
	}
	if len(stamps) != 3 {
		t.Errorf("three events had the ids %v", stamps)
	}
	for id, all := range stamps {
		slices.Sort(all)
		if len(slices.Compact(slices.Clone(all))) != len(all) {
			t.Errorf("tries of %s have the timestamps %v", id, all)
		}
	}
	until(t, "its state", func() bool { s := w.List()[0]; return s.LastSuccess.After(s.LastFailure) })
	for _, l := range w.logs.All() {
		if text := fmt.Sprint(l.Message, l.ContextMap()); strings.Contains(text, "s3cret") {
			t.Errorf("the log holds the URL's query: %s", text)
		}
	}
	if n := w.logs.FilterMessageSnippet("does not take").Len(); n != 1 {
		t.Errorf("one outage was logged %d times", n)
	}
}

func TestASilentEndpointHoldsUpNobody(t *testing.T) {
	w, good := quiet(t)
	silent, refuses := newReceiver(t), newReceiver(t)
	release := make(chan struct{})
	silent.answers(func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	refuses.answers(status(http.StatusInternalServerError))
	w.configure(w.to(silent), w.to(refuses), w.to(good))
	var names []string
	for i := range 200 {
		names = append(names, fmt.Sprint("n", i))
	}
	w.offer(names...)
	until(t, "all at the good one", func() bool { return len(good.got()) == len(names) })
	if n := len(silent.got()); n > 4 {
		t.Errorf("%d deliveries are under way to a silent endpoint", n)
	}
	if s := w.List(); s[0].Waiting != len(names) || s[1].Waiting != len(names) || s[2].URL != good.URL+"/hooks" {
		t.Errorf("the endpoints are listed as %+v", s)
	}
}

func TestGone(t *testing.T) {
	w, r := quiet(t)
	r.answers(status(http.StatusGone))
	w.configure(w.to(r))
	w.offer("a")
	until(t, "its end", func() bool { s := w.List()[0]; return !s.Gone.IsZero() && s.Waiting == 0 && s.GivenUp == 1 })
	until(t, "its end in the store", func() bool {
		res, err := w.store.List(t.Context(), webhook.Prefix+"state/", store.ListOptions{})
		return err == nil && len(res.KeyValues) == 1 && strings.Contains(string(res.KeyValues[0].Value), "gone")
	})
	w.stop()
	w.start()
	until(t, "what is known", func() bool { return !w.List()[0].Gone.IsZero() })
	before := len(r.got())
	w.offer("b")
	tested, err := w.Test(t.Context(), "")
	if err != nil || len(tested) != 1 || tested[0].Status != http.StatusGone || tested[0].Reason == "" {
		t.Fatalf("the test says %+v, %v", tested, err)
	}
	r.answers(nil)
	if tested, err = w.Test(t.Context(), r.URL+"/hooks"); err != nil || tested[0].Status != http.StatusNoContent || tested[0].Reason != "" {
		t.Fatalf("the test says %+v, %v", tested, err)
	}
	if got := r.got()[before:]; len(got) != 2 || got[0].Type != webhook.EventTest || string(got[0].Record) != "null" {
		t.Errorf("an endpoint that is gone heard %+v", got)
	}
	w.offer("c")
	until(t, "the next", func() bool { return slices.Contains(r.heard(), "c") })
	if slices.Contains(r.heard(), "b") {
		t.Error("it heard of what happened while it was gone")
	}
	if n, err := w.Replay(t.Context(), webhook.Selection{}); n != 1 || err != nil {
		t.Errorf("replay queues %d, %v", n, err)
	}
	until(t, "the replay", func() bool { return len(slices.DeleteFunc(r.heard(), func(m string) bool { return m != "a" })) == 2 })
}

func TestGivenUpAndReplayed(t *testing.T) {
	w, r := quiet(t)
	r.answers(status(http.StatusBadRequest))
	w.configure(w.to(r))
	w.offer("a", "b")
	until(t, "two tries", func() bool { return len(r.got()) == 2 })
	w.later(73 * time.Hour)
	until(t, "two more tries, and the end", func() bool { s := w.List()[0]; return s.GivenUp == 2 && s.Waiting == 0 })
	w.stop()
	w.start()
	until(t, "what was given up", func() bool { return w.List()[0].GivenUp == 2 })
	r.answers(nil)
	if n, err := w.Replay(t.Context(), webhook.Selection{Since: w.now()}); n != 0 || err != nil {
		t.Errorf("replay of what is newer than all queues %d, %v", n, err)
	}
	if n, err := w.Replay(t.Context(), webhook.Selection{ID: r.got()[0].ID}); n != 1 || err != nil {
		t.Errorf("replay of one queues %d, %v", n, err)
	}
	if n, err := w.Replay(t.Context(), webhook.Selection{URL: "https://other.example.net/"}); n != 0 || err == nil {
		t.Errorf("replay for an endpoint that there is none of queues %d, %v", n, err)
	}
	until(t, "an empty queue", func() bool { s := w.List()[0]; return s.GivenUp == 1 && s.Waiting == 0 })
	last := r.got()[len(r.got())-1]
	if first := r.got()[0]; last.ID != first.ID || last.Message != first.Message {
		t.Errorf("%+v was replayed as %+v", first, last)
	}
}

// A reload that withdraws an endpoint ends what is sent to it; one that brings it back,
// with another secret, brings what has waited.
func TestAReloadRulesWhoIsTold(t *testing.T) {
	w, r := quiet(t)
	r.answers(status(http.StatusInternalServerError))
	w.configure(w.to(r))
	w.offer("a")
	until(t, "a try", func() bool { return len(r.got()) == 1 && w.List()[0].Reason != "" })
	other := newReceiver(t)
	w.configure(w.to(other))
	r.answers(nil)
	w.later(time.Hour)
	w.offer("b")
	until(t, "the other's", func() bool { return len(other.got()) == 1 })
	if n := len(r.got()); n != 1 {
		t.Errorf("an endpoint that was withdrawn got %d tries", n)
	}
	r.mu.Lock()
	r.key = "quite a new one of 24 by"
	r.mu.Unlock()
	e := w.to(r)
	e.Secrets = []webhook.Secret{secret(t, "quite a new one of 24 by")}
	w.configure(e)
	until(t, "what has waited", func() bool { return slices.Equal(r.heard(), []string{"a", "a"}) })
}

func TestHostileAnswers(t *testing.T) {
	w, r := quiet(t)
	elsewhere := newReceiver(t)
	w.configure(w.to(r))
	endless := func(rw http.ResponseWriter, req *http.Request) {
		rw.WriteHeader(http.StatusOK)
		for req.Context().Err() == nil {
			if _, err := rw.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		reason string // empty: delivered
	}{
		"an endless body": {endless, ""},
		"a redirect": {func(rw http.ResponseWriter, req *http.Request) {
			http.Redirect(rw, req, elsewhere.URL, http.StatusTemporaryRedirect)
		}, "redirect"},
		"a header too large": {func(rw http.ResponseWriter, _ *http.Request) { rw.Header().Set("X", strings.Repeat("x", 1<<20)) }, "cannot be reached"},
		"no HTTP": {func(rw http.ResponseWriter, _ *http.Request) {
			conn, _, err := rw.(http.Hijacker).Hijack()
			if err == nil {
				fmt.Fprint(conn, "\x1b[31mSSH-2.0\r\n")
				conn.Close()
			}
		}, "cannot be reached"},
		"a cut": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "cannot be reached"},
	} {
		r.answers(c.answer)
		tested, err := w.Test(t.Context(), "")
		if err != nil || (tested[0].Reason == "") != (c.reason == "") || !strings.Contains(tested[0].Reason, c.reason) || strings.Contains(tested[0].Reason, "s3cret") || len(tested[0].Reason) > 400 {
			t.Errorf("%s: %+v, %v", name, tested, err)
		}
	}
	if n := len(elsewhere.got()); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

// A record that is too large is left out; what makes no JSON, too.
func TestABodyIsBounded(t *testing.T) {
	w, r := quiet(t)
	w.configure(w.to(r))
	large, err := json.Marshal(strings.Repeat("x", webhook.MaxBody))
	if err != nil {
		t.Fatal(err)
	}
	w.Offer(webhook.Event{Type: "apoxy.phase_changed", Message: "large", Record: large})
	w.Offer(webhook.Event{Type: "apoxy.phase_changed", Message: "broken", Record: json.RawMessage(`{`)})
	until(t, "both", func() bool { return len(r.got()) == 2 })
	for _, g := range r.got() {
		if string(g.Record) != "null" {
			t.Errorf("%s came with a record of %d bytes", g.Message, len(g.Record))
		}
	}
}

// What the store has of one delivery is damaged: the others go on.
func TestADamagedEntryIsRemoved(t *testing.T) {
	w, r := quiet(t)
	r.answers(status(http.StatusInternalServerError))
	w.configure(w.to(r))
	w.offer("a", "b")
	until(t, "a try of each", func() bool { return len(r.got()) == 2 })
	until(t, "both stored as failed", func() bool {
		res, err := w.store.List(t.Context(), webhook.Prefix+"queue/", store.ListOptions{})
		return err == nil && len(res.KeyValues) == 2 && !slices.ContainsFunc(res.KeyValues, func(kv store.KeyValue) bool { return !strings.Contains(string(kv.Value), `"tries":1`) })
	})
	res, err := w.store.List(t.Context(), webhook.Prefix+"queue/", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range res.KeyValues {
		if err := webhook.Check(kv.Key, kv.Value); err != nil {
			t.Errorf("the store's own value %s is no good: %v", kv.Value, err)
		}
	}
	key := res.KeyValues[0].Key
	if err := webhook.Check(key, []byte(`{}`)); err == nil {
		t.Error("an empty entry is good")
	}
	if _, err := w.store.Write(t.Context(), store.Op{Key: key, Value: []byte(`{}`), If: store.Any}); err != nil {
		t.Fatal(err)
	}
	r.answers(nil)
	w.later(time.Minute)
	until(t, "an empty queue", w.waiting(0))
	if n := len(r.got()); n != 3 {
		t.Errorf("of two entries, one damaged, there were %d tries, want 3", n)
	}
	if res, err := w.store.List(t.Context(), webhook.Prefix+"queue/", store.ListOptions{}); err != nil || len(res.KeyValues) != 0 {
		t.Errorf("the store still has %d entries, %v", len(res.KeyValues), err)
	}
}

// An engine that is away, or does not know whether it has written, costs no event.
func TestAStoreThatFailsCostsNoEvent(t *testing.T) {
	for name, done := range map[string]bool{"before it has written": false, "after it has written": true} {
		t.Run(name, func(t *testing.T) {
			w, r := quiet(t)
			w.configure(w.to(r))
			left := 3
			w.mu.Lock()
			w.fault = func(ops []store.Op) (error, bool) {
				w.mu.Lock()
				defer w.mu.Unlock()
				if left--; left < 0 || ops[0].Value == nil {
					return nil, false
				}
				return &store.UnavailableError{Engine: "etcd", Reason: "it is away", Unknown: done}, done && left == 2
			}
			w.mu.Unlock()
			w.offer("a", "b", "c", "d")
			until(t, "all", func() bool { return len(r.got()) >= 4 && w.waiting(0)() })
			all := r.heard()
			slices.Sort(all)
			if !slices.Equal(slices.Compact(all), []string{"a", "b", "c", "d"}) {
				t.Errorf("it heard %v", all)
			}
		})
	}
}

// What cannot be read at the start is removed, and what can be is sent.
func TestWhatCannotBeReadAtTheStartIsRemoved(t *testing.T) {
	w, r := quiet(t)
	r.answers(status(http.StatusInternalServerError))
	w.configure(w.to(r))
	w.offer("a")
	until(t, "a try", func() bool { return len(r.got()) == 1 && w.List()[0].Reason != "" })
	for _, key := range []string{"queue/x/y", "queue/z", "state/x", "other"} {
		if _, err := w.store.Write(t.Context(), store.Op{Key: webhook.Prefix + key, Value: []byte("{"), If: store.Any}); err != nil {
			t.Fatal(err)
		}
	}
	w.stop()
	r.answers(nil)
	w.start()
	w.passing("an empty queue", func() bool { return len(r.got()) >= 2 && w.waiting(0)() })
	until(t, "a clean store", func() bool {
		res, err := w.store.List(t.Context(), webhook.Prefix, store.ListOptions{})
		return err == nil && len(res.KeyValues) == 2 && res.KeyValues[0].Key == webhook.Prefix+"other" && strings.HasPrefix(res.KeyValues[1].Key, webhook.Prefix+"state/")
	})
}
