package caddyapoxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/cluster"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/dashboard"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/timeline"
)

func TestWhichChangesATimelineHas(t *testing.T) {
	condition := func(of, from, to string) controller.Transition {
		return controller.Transition{Event: controller.EventConditionChanged, Type: of, From: from, To: to, Reason: "R", Message: "M"}
	}
	kept := func(of, from, to, message string) *timeline.Event {
		return &timeline.Event{Type: of, From: from, To: to, Reason: "R", Message: message}
	}
	for name, tt := range map[string]struct {
		t    controller.Transition
		want *timeline.Event // nil: none
	}{
		"what has come true, without a message": {condition(v1alpha3.ConditionCNAMEConfigured, "False", "True"), kept("CNAMEConfigured", "False", "True", "")},
		"what is true from the first":           {condition(v1alpha3.ConditionTLSReady, "", "True"), kept("TLSReady", "", "True", "")},
		"what was lost, and why":                {condition(v1alpha3.ConditionOwnershipVerified, "True", "False"), kept("OwnershipVerified", "True", "False", "M")},
		"what has no place any more":            {condition(v1alpha3.ConditionTLSReady, "True", ""), kept("TLSReady", "True", "", "M")},
		"what a new record is not":              {condition(v1alpha3.ConditionCNAMEConfigured, "", "False"), nil},
		"what is seen not to be":                {condition(v1alpha3.ConditionCNAMEConfigured, "Unknown", "False"), nil},
		"a target's health":                     {condition(v1alpha3.ConditionTargetReady, "True", "False"), nil},
		"what follows from the rest":            {condition(v1alpha3.ConditionReady, "False", "True"), nil},
		"a phase":                               {controller.Transition{Event: controller.EventPhaseChanged, Type: "Phase", From: "Pending", To: "Issuing", Reason: "R", Message: "M"}, &timeline.Event{Type: "Phase", From: "Pending", To: "Issuing"}},
		"the first phase":                       {controller.Transition{Event: controller.EventPhaseChanged, Type: "Phase", To: "Pending"}, nil},
		"a certificate":                         {controller.Transition{Event: eventCertificateObtained, Type: "TLSReady", Reason: "R", Message: "M"}, kept("Certificate", "", "", "")},
		"a failure":                             {controller.Transition{Event: eventCertificateFailed, Type: "TLSReady", Reason: "R", Message: "M"}, kept("Certificate", "", "", "M")},
		"an end that nears":                     {controller.Transition{Event: eventCertificateExpiring, Type: "TLSReady", Reason: "R", Message: "M"}, kept("Certificate", "", "", "M")},
		"a deletion":                            {controller.Transition{Event: controller.EventRecordDeleted}, nil},
	} {
		got, ok := timelineEvent(tt.t)
		if ok != (tt.want != nil) || ok && got != *tt.want {
			t.Errorf("%s: %+v, %v", name, got, ok)
		}
	}
}

func TestWhatHappenedOftenIsShownTwice(t *testing.T) {
	at := func(minutes int) time.Time { return time.Unix(int64(1_700_000_000+60*minutes), 0).UTC() }
	l := timeline.Line{Hostname: "a.example.com", Created: at(0)}
	l.Add(timeline.Event{At: at(5), Type: ofCertificate, Reason: "CertificateError", Message: "one"})
	l.Add(timeline.Event{At: at(6), Type: "CNAMEConfigured", From: "False", To: "True", Reason: "CNAMEConfigured"})
	l.Add(timeline.Event{At: at(7), Type: ofCertificate, Reason: "CertificateError", Message: "two"})
	l.Add(timeline.Event{At: at(8), Type: ofCertificate, Reason: "CertificateIssued"})
	var got []string
	for _, e := range eventsOf(l) {
		got = append(got, fmt.Sprintf("%v %s: %s", e.Time.Sub(at(0)), e.Type, e.Message))
	}
	want := []string{"0s Created: The record was created.", "5m0s Certificate: The first of 2 times in a row.", "6m0s CNAMEConfigured: ",
		"7m0s Certificate: two", "8m0s Certificate: A certificate was obtained."}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// uidOf is the uid of a record at an admin endpoint.
func uidOf(t *testing.T, base, name string) string {
	t.Helper()
	var r v1alpha3.DomainRecord
	until(t, "the record "+name, func() bool { return call(t, http.MethodGet, base+recordsPath+"/"+name, "", &r) == http.StatusOK })
	return string(r.UID)
}

// The whole way: what becomes of a record is told, goes on over a reload and ends with it.
func TestARecordHasATimeline(t *testing.T) {
	w, admin := newWorld(t), freePort(t)
	if err := load(t, w.withHook(admin, "check_interval 50ms")); err != nil {
		t.Fatal(err)
	}
	base, rt := "http://"+admin, running(t).held
	createAt(t, base, "one.example.com")
	uid := uidOf(t, base, "one.example.com")
	record := func() (v1alpha3.DomainRecord, int64) {
		kv, _, err := rt.store.Get(t.Context(), "domainrecords/one.example.com")
		if err != nil {
			t.Fatal(err)
		}
		var r v1alpha3.DomainRecord
		if err := json.Unmarshal(kv.Value, &r); err != nil {
			t.Fatal(err)
		}
		return r, kv.Revision
	}
	r, revision := record()
	rt.emit(controller.Transition{Event: controller.EventConditionChanged, Name: r.Name, Hostname: r.Spec.Name, Type: "CNAMEConfigured", From: "False", To: "True", Reason: "CNAMEConfigured", Record: &r, Revision: revision})
	rt.certificateOrdered(issuance.Ordered{Hostname: "one.example.com", Obtained: true, CA: "ca", Message: "A certificate was obtained."})
	f := facts{rt}
	types := func() (out []string) {
		events, err := f.Timeline(t.Context(), uid)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			out = append(out, e.Type)
		}
		return out
	}
	if got := types(); !slices.Equal(got, []string{"Created", "CNAMEConfigured", "Certificate"}) {
		t.Errorf("the time line has %q", got)
	}
	if events, err := f.Timeline(t.Context(), "of a stranger"); err != nil || len(events) != 0 {
		t.Errorf("of a stranger: %v, %v", events, err)
	}
	until(t, "it to be written", func() bool {
		_, _, err := rt.store.Get(t.Context(), timeline.Prefix+uid)
		return err == nil
	})
	if got := types(); len(got) != 3 {
		t.Errorf("once written, the time line has %q", got)
	}
	if code := call(t, http.MethodDelete, base+recordsPath+"/one.example.com", "", nil); code != http.StatusOK {
		t.Fatalf("deleting it: %d", code)
	}
	until(t, "its time line to end", func() bool {
		res, err := rt.store.List(t.Context(), timeline.Prefix, store.ListOptions{})
		return err == nil && len(res.KeyValues) == 0
	})
	if got := types(); len(got) != 0 {
		t.Errorf("after its end, the time line has %q", got)
	}
}

// A time line that was left behind, as by a crash, is removed at the start.
func TestTimelinesWithoutARecordAreSwept(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	rt := running(t).held
	left := timeline.New(timeline.Config{Store: rt.store, Lives: func(string, string) bool { return true }})
	left.Offer("uid-1", "gone.example.com", time.Now(), timeline.Event{Type: "T"})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := left.Run(ended); err != nil {
		t.Fatal(err)
	}
	if _, _, err := rt.store.Get(t.Context(), timeline.Prefix+"uid-1"); err != nil {
		t.Fatal(err)
	}
	if err := rt.sweepTimelines(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kv, _, err := rt.store.Get(t.Context(), timeline.Prefix+"uid-1"); err == nil {
		t.Errorf("it is still there: %v", kv)
	}
}

// What the dashboard shows is there without an admin endpoint, and from the first moment.
func TestFactsAreThereWithoutAnAdminEndpoint(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	rt := running(t).held
	f := facts{rt}
	nodes, err := f.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || !nodes[0].Self || !nodes[0].Live || nodes[0].Since.IsZero() {
		t.Errorf("nodes: %+v, %v", nodes, err)
	}
	names := []string{}
	for _, s := range f.Series(t.Context()) {
		names = append(names, s.Name)
		if len(s.Values) != 120 || s.Step != 30*time.Second {
			t.Errorf("%s has %d values", s.Name, len(s.Values))
		}
	}
	if want := []string{"looks", "TLS connections", "requests", "DNS queries"}; !slices.Equal(names, want) {
		t.Errorf("series %q, want %q", names, want)
	}
	until(t, "certificates to be counted", func() bool { return len(f.Issuance(t.Context()).Expiries) == 100 })
	if p, ok := f.Place(t.Context(), "nobody.example.com"); ok {
		t.Errorf("nobody waits: %+v", p)
	}
	if chain, err := f.Certificate(t.Context(), "nobody.example.com"); err != nil || len(chain) != 0 {
		t.Errorf("nobody has a certificate: %v, %v", chain, err)
	}
	var found []dashboard.Finding
	until(t, "the doctor", func() bool {
		var err error
		if found, _, err = f.Findings(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(found) > 0
	})
	checks := map[string]int{}
	for _, n := range found {
		checks[n.Check]++
		if strings.Contains(n.Seen, "cannot be told") && (n.Check == "store" || n.Check == "cluster") {
			t.Errorf("it is not told from within: %+v", n)
		}
	}
	if checks["store"] != 1 || checks["view"] != 1 || checks["ca"] == 0 {
		t.Errorf("the doctor's checks are %v", checks)
	}
}

func TestAConfigurationIsTheDoctorsSetup(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	a := running(t)
	s := a.held.doctorSetup(a)
	if s.Zone != w.zone || len(s.Nameservers) != 1 || s.Nameservers[0].Name != "ns1.example.net" || s.Nameservers[0].Addresses[0].String() != "192.0.2.1" ||
		len(s.EdgeAddresses) != 1 || s.EdgeUnchecked || !slices.Equal(s.DNS, []string{w.dns}) || !slices.Equal(s.Resolvers, []string{w.dns}) ||
		!strings.HasSuffix(w.web, fmt.Sprintf(":%d", s.HTTPPort)) || s.HTTPSPort != 443 {
		t.Errorf("%+v", s)
	}
}

// A page is the same on every node: the one that looks after a hostname is asked.
func TestAnotherNodeIsToldAPlace(t *testing.T) {
	rt := openTestRuntime(t, zap.NewNop())
	answer, err := rt.answer(t.Context(), cluster.Question{Do: askPlace, About: "a.example.com"})
	if want := (placeAnswer{}); err != nil || answer != want {
		t.Errorf("%+v, %v", answer, err)
	}
	due := time.Unix(1_700_000_000, 0).UTC()
	sent := placeAnswer{issuance.Place{Authority: "ca", Ahead: 3, Due: due, Why: "it is held"}, true}
	value, err := json.Marshal(sent)
	var got placeAnswer
	if err != nil || json.Unmarshal(value, &got) != nil || got != sent {
		t.Errorf("%s is read as %+v, %v", value, got, err)
	}
}

func TestTLSConnectionsAreCounted(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	if n := len(running(t).counted); n != 1 {
		t.Errorf("the connections of %d servers are counted, want those of one", n)
	}
	plain, other := net.Pipe()
	defer plain.Close()
	defer other.Close()
	secure := tls.Client(plain, new(tls.Config))
	before := tlsConnections.Load()
	countConnection(plain, http.StateNew)
	countConnection(secure, http.StateActive)
	countConnection(secure, http.StateClosed)
	if n := tlsConnections.Load() - before; n != 0 {
		t.Errorf("%d are counted of none", n)
	}
	if allocs := testing.AllocsPerRun(100, func() { countConnection(secure, http.StateNew) }); allocs != 0 {
		t.Errorf("counting one allocates %v times", allocs)
	}
	if n := tlsConnections.Load() - before; n < 100 {
		t.Errorf("%d are counted of a hundred", n)
	}
}

// withSummary stands in for the counting of records, which has a file of its own.
type withSummary struct{ facts }

func (withSummary) Summary(context.Context) (s dashboard.Summary) { return s }

var _ dashboard.Facts = withSummary{}
