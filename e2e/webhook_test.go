package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// hookReceiver is what a webhook's receiver was told, each delivery verified by code that shares
// nothing with the product's.
type hookReceiver struct {
	mu      sync.Mutex
	key     []byte
	refuse  bool
	ids     map[string]string // what each id was first about
	events  map[string]int    // type, type of data and to
	records map[string]string // phase of the record that came with a change of phase, by to
	faults  []string
}

func (h *hookReceiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	id, stamp := r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, h.key)
	fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
	seconds, stampErr := strconv.ParseInt(stamp, 10, 64)
	age := time.Since(time.Unix(seconds, 0))
	var b struct {
		Type string
		Data struct {
			Hostname, Type, To string
			Record             struct{ Status struct{ Phase string } }
		}
	}
	jsonErr := json.Unmarshal(body, &b)
	what := b.Type + " " + b.Data.Hostname + " " + b.Data.Type + " " + b.Data.To
	if before, ok := h.ids[id]; ok && before != what || r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) ||
		err != nil || stampErr != nil || jsonErr != nil || age < -time.Minute || age > time.Minute {
		h.faults = append(h.faults, fmt.Sprintf("%v %s", r.Header, body))
	}
	h.ids[id] = what
	h.events[what]++
	if b.Type == "apoxy.phase_changed" {
		h.records[b.Data.To] = b.Data.Record.Status.Phase
	}
}

func (h *hookReceiver) of(what string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.events[what] == 0 {
		return fmt.Errorf("it was not told of %q but of %v", what, h.events)
	}
	return nil
}

// A record's life is told to a webhook whose block stands in one line, what happened while
// the receiver was away and the product was killed among it.
func TestWebhooksTellOfARecordsLife(t *testing.T) {
	n := network(t)
	h := &hookReceiver{key: []byte("0123456789abcdefghijklmn"), ids: map[string]string{}, events: map[string]int{}, records: map[string]string{}}
	receiver := httptest.NewServer(h)
	defer receiver.Close()
	p := start(t, n, settings{})
	secret := "whsec_" + base64.StdEncoding.EncodeToString(h.key)
	p.reconfigure(t, "store bolt", "webhook "+receiver.URL+"/hooks { secret "+secret+" }\n\t\tstore bolt")
	if out, err := p.caddy(t.Context(), "", "apoxy", "webhook", "test"); err != nil || !strings.Contains(out, receiver.URL+"/hooks taken with 200") {
		t.Fatalf("the test says %q, %v", out, err)
	}
	customer := customer(t, n, "hooks")
	host := "api." + customer.name
	customer.set(t, p.create(t, host, true).line(t, "ACMEChallenge"))
	p.await(t, host, 30*time.Second, "the certificate", is("phase=Active", "TLSReady=True"))
	for _, what := range []string{
		"apoxy.condition_changed " + host + " TLSReady True", "apoxy.condition_changed " + host + " OwnershipVerified True",
		"apoxy.phase_changed " + host + " Phase Active", "apoxy.certificate_obtained " + host + " TLSReady ",
	} {
		eventually(t, 10*time.Second, what, func() error { return h.of(what) })
	}
	h.mu.Lock()
	if got := h.records["Active"]; got != "Active" {
		t.Errorf("with the change to Active came a record in the phase %q", got)
	}
	h.refuse = true
	h.mu.Unlock()

	if _, err := p.caddy(t.Context(), "", "apoxy", "domainrecord", "delete", host); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "a delivery to wait", func() error {
		out, err := p.caddy(t.Context(), "", "apoxy", "webhook", "list")
		if err == nil && !(strings.Contains(out, "failing") && strings.Contains(out, "it answered 503")) {
			err = errorf("the list says %s", out)
		}
		return err
	})
	if out, err := p.caddy(t.Context(), "", "apoxy", "webhook", "test"); exitStatus(err) != 1 || !strings.Contains(out, "failed: it answered 503") {
		t.Errorf("the test of a receiver that is away says %q, %v", out, err)
	}
	p.kill()
	h.mu.Lock()
	h.refuse = false
	h.mu.Unlock()
	p.run(t)
	deleted := "apoxy.record_deleted " + host + "  "
	eventually(t, 20*time.Second, "the deletion", func() error { return h.of(deleted) })
	if out, err := p.caddy(t.Context(), "", "apoxy", "store", "verify"); err != nil {
		t.Errorf("the store is verified with %q, %v", out, err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.faults {
		t.Errorf("a delivery is not as it should be: %s", f)
	}
}
