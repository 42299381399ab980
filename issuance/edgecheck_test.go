package issuance

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// stand is what stands at 203.0.113.10, in place of which loopback is dialled: on
// 80 and 443 what is given, or nothing.
type stand struct{ http, https, inner atomic.Pointer[net.TCPAddr] }

func (e *stand) dial(ctx context.Context, network, address string) (net.Conn, error) {
	var to *net.TCPAddr
	switch address {
	case "203.0.113.10:80":
		to = e.http.Load()
	case "203.0.113.10:443":
		to = e.https.Load()
	case "203.0.113.10:8080":
		to = e.inner.Load()
	default:
		return nil, errors.New("unexpected dial of " + address)
	}
	if to == nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	return (&net.Dialer{}).DialContext(ctx, network, to.String())
}

// serve puts a server of certmagic's own at a port of the edge, or another.
func (w *world) serve(at *atomic.Pointer[net.TCPAddr], h http.Handler, with *tls.Config) {
	srv := httptest.NewUnstartedServer(h)
	if srv.TLS = with; with != nil {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	w.t.Cleanup(srv.Close)
	at.Store(srv.Listener.Addr().(*net.TCPAddr))
}

func (w *world) challengeHandler() http.Handler {
	responder := certmagic.NewACMEIssuer(w.magic, certmagic.ACMEIssuer{CA: w.ca.Directory()})
	return responder.HTTPChallengeHandler(http.NotFoundHandler())
}

func newEdge(t *testing.T) (*world, *stand) {
	w, e := newWorld(t), new(stand)
	w.edge = edge.Endpoint{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.10")}}
	w.s.edgeCheck.Dial = e.dial
	w.ca.Validate = func(string, string, string, string) *acmez.Problem { return nil }
	return w, e
}

const www = "www.example.com"

// What keeps one challenge from succeeding does not keep the other waiting: DNS-01 is
// tried the moment that resolvers have forgotten what was there.
func TestAnEdgeThatNoCAReachesDoesNotDelayDNS01(t *testing.T) {
	w, _ := newEdge(t)
	w.dns.delegate(www)
	from := time.Now().Add(20 * time.Second)
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true, DNS01: true, DNS01From: from.Unix()})
	if o := w.until(www, "failed", worked(ownership.WorkFailed)); o.Until.After(from) {
		t.Errorf("it is tried again at %s, DNS-01 may be at %s", o.Until, from)
	}
	w.advance(21 * time.Second)
	if o := w.until(www, "certified", seen); o.Challenge != "dns-01" {
		t.Errorf("it is obtained by %s", o.Challenge)
	}
}

func TestAnEdgeThatNoCAReachesCausesNoOrder(t *testing.T) {
	w, e := newEdge(t)
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	o := w.until(www, "failed", worked(ownership.WorkFailed))
	for _, said := range []string{"http-01: 203.0.113.10 port 80 refuses", "tls-alpn-01: 203.0.113.10 port 443 refuses", "opens ports 80 and 443"} {
		if !strings.Contains(o.Message+". "+o.Mend, said) {
			t.Errorf("message %q, mend %q: lacks %q", o.Message, o.Mend, said)
		}
	}
	if n := w.ca.Count(""); n != 0 {
		t.Errorf("%d requests to the CA", n)
	}
	w.dns.delegate("api.example.com") // DNS-01 needs no edge
	w.s.Want(Want{Hostname: "api.example.com", UID: "u2", DNS01: true, HTTP01: true})
	w.until("api.example.com", "certified", seen)

	w.serve(&e.http, w.challengeHandler(), nil)
	w.advance(time.Minute) // and what was seen is old
	w.s.Retry(www)
	if o := w.until(www, "certified", seen); o.Challenge != "http-01" {
		t.Errorf("by %s", o.Challenge)
	}
	if left, _ := w.magic.Storage.List(context.Background(), "acme", true); strings.Contains(strings.Join(left, " "), "challenge_tokens/"+www) {
		t.Errorf("a challenge stayed behind: %v", left)
	}
}

func TestSomebodyElseAtTheEdgeIsNamed(t *testing.T) {
	w, e := newEdge(t)
	w.serve(&e.http, http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Server", "nginx")
		rw.WriteHeader(http.StatusNotFound)
	}), nil)
	w.serve(&e.https, http.NotFoundHandler(), &tls.Config{NextProtos: []string{"acme-tls/1"}})
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	o := w.until(www, "failed", worked(ownership.WorkFailed))
	for _, said := range []string{`port 80 answers with 404 from "nginx" in place of the challenge`, "port 443 answers with another certificate"} {
		if !strings.Contains(o.Message+". "+o.Mend, said) {
			t.Errorf("message %q, mend %q: lacks %q", o.Message, o.Mend, said)
		}
	}
	if n := w.ca.Count(""); n != 0 {
		t.Errorf("%d requests to the CA", n)
	}
}

func TestTLSALPNIsTakenWhereOnly443IsOpen(t *testing.T) {
	w, e := newEdge(t)
	w.serve(&e.https, http.NotFoundHandler(), w.magic.TLSConfig())
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	if o := w.until(www, "certified", seen); o.Challenge != "tls-alpn-01" || w.ca.Placed() != 1 {
		t.Errorf("by %s, %d orders", o.Challenge, w.ca.Placed())
	}
}

func TestARedirectToHTTPSIsFollowedAsCAsDo(t *testing.T) {
	w, e := newEdge(t)
	w.serve(&e.http, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, "https://"+r.Host+r.URL.Path, http.StatusMovedPermanently)
	}), nil)
	w.serve(&e.https, w.challengeHandler(), &tls.Config{})
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	if o := w.until(www, "certified", seen); o.Challenge != "http-01" {
		t.Errorf("by %s", o.Challenge)
	}
}

func TestAHostnameThatLeadsElsewhereTooCausesNoOrder(t *testing.T) {
	w := newWorld(t)
	w.dns.astray[www] = true
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	o := w.until(www, "waits for DNS", func(o ownership.CertificateObservation) bool { return o.Message != "" && o.Work == ownership.WorkNone })
	if !strings.Contains(o.Message, "or not only here") || w.ca.Count("") != 0 {
		t.Errorf("%q, %d requests", o.Message, w.ca.Count(""))
	}
}

// What the Want says is believed where DNS cannot tell, but not where it tells
// something that no CA would believe.
func TestABogusZoneCausesNoOrder(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate(www)
	w.dns.bogus[www] = true
	w.s.Want(Want{Hostname: www, UID: "u1", DNS01: true, HTTP01: true})
	o := w.until(www, "waits for DNS", func(o ownership.CertificateObservation) bool { return o.Message != "" && o.Work == ownership.WorkNone })
	if !strings.Contains(o.Message, "the DNSSEC signatures of its zone do not hold, so no certificate authority would believe it") || w.ca.Count("") != 0 {
		t.Errorf("%q, %d requests", o.Message, w.ca.Count(""))
	}
	w.dns.mu.Lock()
	w.dns.bogus[www] = false
	w.dns.mu.Unlock()
	w.s.Retry(www)
	w.until(www, "certified", seen)
}

func TestACAAThatCannotBeLookedUpCausesNoOrder(t *testing.T) {
	w := newWorld(t)
	w.ca.Identities = []string{"ca.test"}
	w.dns.delegate("api.example.com")
	w.dns.caaErr = errors.New("looking for CAA records of api.example.com at example.com: SERVFAIL from 192.0.2.53")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "waits for DNS", func(o ownership.CertificateObservation) bool { return o.Message != "" && o.Work == ownership.WorkNone })
	if !strings.Contains(o.Message, "SERVFAIL from 192.0.2.53") || w.ca.Placed() != 0 {
		t.Errorf("%q, %d orders", o.Message, w.ca.Placed())
	}
	c := w.is.cas()[0]
	if m, f := w.s.permitted(t.Context(), c, Want{Hostname: "api.example.com"}, []string{"dns-01"}, true); f != nil || len(m) != 1 {
		t.Errorf("a certificate about to expire is not tried: %v, %v", m, f)
	}
}

func TestACAWithoutACAAIdentityIssuesWhereCAACannotBeLookedUp(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate("api.example.com")
	w.dns.caaErr = errors.New("looking for CAA records of api.example.com at com: REFUSED from 127.0.0.1")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	w.until("api.example.com", "certified", seen)
}

// The silence of our own edge, which is all that is heard behind NAT without
// hairpin, ends by itself, and everybody who waited is tried at once.
func TestASilentEdgeIsTriedSoon(t *testing.T) {
	w, _ := newEdge(t)
	w.s.edgeCheck.Dial = func(_ context.Context, network, _ string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
	}
	for _, host := range []string{www, "shop.example.org"} {
		w.s.Want(Want{Hostname: host, UID: "u1", HTTP01: true})
		o := w.until(host, "failed", worked(ownership.WorkFailed))
		if !strings.Contains(o.Message, "does not answer") || !strings.Contains(o.Mend, "edge_check") {
			t.Errorf("message %q, mend %q", o.Message, o.Mend)
		}
	}
	w.advance(40 * time.Second)
	w.s.Retry(www)
	w.until(www, "certified", seen)
	w.until("shop.example.org", "certified because the other was", seen)
}

// What is listened on inside is not what is open outside.
func TestAnInnerPortIsNotPort80(t *testing.T) {
	w, e := newEdge(t)
	w.serve(&e.inner, w.challengeHandler(), nil)
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	w.until(www, "failed", worked(ownership.WorkFailed))
	if n := w.ca.Count(""); n != 0 {
		t.Errorf("%d requests to the CA", n)
	}
	vouched, inside := newEdge(t)
	vouched.serve(&inside.inner, vouched.challengeHandler(), nil)
	vouched.edge.HTTPPort = 8080 // the operator says that it is mapped
	vouched.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	vouched.until(www, "certified", seen)
}

func openStore(t *testing.T) store.Store {
	t.Helper()
	st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}
