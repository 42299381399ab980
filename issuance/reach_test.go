package issuance

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
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

	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func TestWhetherACAWouldMeetUs(t *testing.T) {
	v4, other, v6 := netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("203.0.113.11"), netip.MustParseAddr("2001:db8::10")
	for name, tt := range map[string]struct {
		seen []sighting
		why  string // "": it would
		met  encounter
	}{
		"one address that answers":                                 {[]sighting{{v4, ourselves, ""}}, "", unseen},
		"one of two is enough":                                     {[]sighting{{v4, refused, "refuses"}, {other, ourselves, ""}}, "", unseen},
		"none answers":                                             {[]sighting{{v4, refused, "refuses"}, {other, silent, "is silent"}}, "203.0.113.10 refuses, 203.0.113.11 is silent", refused},
		"IPv6 that answers spares IPv4":                            {[]sighting{{v6, ourselves, ""}, {v4, refused, "refuses"}}, "", unseen},
		"IPv6 that refuses spoils IPv4":                            {[]sighting{{v6, refused, "refuses"}, {v4, ourselves, ""}}, "2001:db8::10 refuses; certificate authorities ask IPv6 first", refused},
		"IPv6 at which somebody else answers spoils IPv4":          {[]sighting{{v6, another, "is nginx"}, {v4, ourselves, ""}}, "2001:db8::10 is nginx; certificate authorities ask IPv6 first", another},
		"IPv6 that is silent leaves CAs IPv4":                      {[]sighting{{v6, silent, "is silent"}, {v4, ourselves, ""}}, "", unseen},
		"IPv6 that this machine lacks says nothing about it":       {[]sighting{{v6, unseen, "no route"}, {v4, ourselves, ""}}, "", unseen},
		"IPv6 alone that is silent":                                {[]sighting{{v6, silent, "is silent"}}, "2001:db8::10 is silent", silent},
		"an IPv4 address in IPv6's form is an IPv4 address":        {[]sighting{{netip.MustParseAddr("::ffff:203.0.113.10"), refused, ""}, {v4, ourselves, ""}}, "", unseen},
		"no way there from here says nothing":                      {[]sighting{{v6, unseen, "no route"}, {v4, unseen, "no route"}}, "", unseen},
		"silence and no way there are no proof of any meeting":     {[]sighting{{v6, unseen, "no route"}, {v4, silent, "is silent"}}, "2001:db8::10 no route, 203.0.113.10 is silent", silent},
		"nothing but closed connections may be the PROXY protocol": {[]sighting{{v4, closed, "closes"}}, "203.0.113.10 closes", closed},
		"a closed connection beside a refused one":                 {[]sighting{{v4, closed, "closes"}, {other, refused, "refuses"}}, "203.0.113.10 closes, 203.0.113.11 refuses", refused},
		"IPv6 that closes connections leaves IPv4":                 {[]sighting{{v6, closed, "closes"}, {v4, ourselves, ""}}, "", unseen},
	} {
		t.Run(name, func(t *testing.T) {
			if got := answers(tt.seen); got.why != tt.why || got.met != tt.met {
				t.Errorf("%+v", got)
			}
		})
	}
}

// edge is what stands at 203.0.113.10, in place of which loopback is dialled: on
// 80 and 443 what is given, or nothing.
type edge struct{ http, https, inner atomic.Pointer[net.TCPAddr] }

func (e *edge) dial(ctx context.Context, network, address string) (net.Conn, error) {
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
	responder := certmagic.NewACMEIssuer(w.magic, certmagic.ACMEIssuer{CA: w.ca.directory()})
	return responder.HTTPChallengeHandler(http.NotFoundHandler())
}

func newEdge(t *testing.T) (*world, *edge) {
	w, e := newWorld(t), new(edge)
	w.edge = Edge{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.10")}}
	w.s.reach.dial = e.dial
	w.ca.validate = func(string, string, string, string) *acmez.Problem { return nil }
	return w, e
}

const www = "www.example.com"

func TestAnEdgeThatNoCAReachesCausesNoOrder(t *testing.T) {
	w, e := newEdge(t)
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	o := w.until(www, "failed", worked(ownership.WorkFailed))
	for _, said := range []string{"http-01: 203.0.113.10 port 80 refuses", "tls-alpn-01: 203.0.113.10 port 443 refuses", "opens ports 80 and 443"} {
		if !strings.Contains(o.Message+". "+o.Mend, said) {
			t.Errorf("message %q, mend %q: lacks %q", o.Message, o.Mend, said)
		}
	}
	if n := w.ca.count(""); n != 0 {
		t.Errorf("%d requests to the CA", n)
	}
	w.dns.delegate("api.example.com") // DNS-01 needs no edge
	w.s.Want(Want{Hostname: "api.example.com", UID: "u2", DNS01: true, HTTP01: true})
	w.until("api.example.com", "certified", seen)

	w.serve(&e.http, w.challengeHandler(), nil)
	w.s.reach.forget()
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
	if n := w.ca.count(""); n != 0 {
		t.Errorf("%d requests to the CA", n)
	}
}

func TestTLSALPNIsTakenWhereOnly443IsOpen(t *testing.T) {
	w, e := newEdge(t)
	w.serve(&e.https, http.NotFoundHandler(), w.magic.TLSConfig())
	w.s.Want(Want{Hostname: www, UID: "u1", HTTP01: true})
	if o := w.until(www, "certified", seen); o.Challenge != "tls-alpn-01" || w.ca.placed() != 1 {
		t.Errorf("by %s, %d orders", o.Challenge, w.ca.placed())
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
	if !strings.Contains(o.Message, "or not only here") || w.ca.count("") != 0 {
		t.Errorf("%q, %d requests", o.Message, w.ca.count(""))
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
	if !strings.Contains(o.Message, "the DNSSEC signatures of its zone do not hold, so no certificate authority would believe it") || w.ca.count("") != 0 {
		t.Errorf("%q, %d requests", o.Message, w.ca.count(""))
	}
	w.dns.mu.Lock()
	w.dns.bogus[www] = false
	w.dns.mu.Unlock()
	w.s.Retry(www)
	w.until(www, "certified", seen)
}

func TestACAAThatCannotBeLookedUpCausesNoOrder(t *testing.T) {
	w := newWorld(t)
	w.ca.identities = []string{"ca.test"}
	w.dns.delegate("api.example.com")
	w.dns.caaErr = errors.New("looking for CAA records of api.example.com at example.com: SERVFAIL from 192.0.2.53")
	w.s.Want(Want{Hostname: "api.example.com", UID: "u1", DNS01: true})
	o := w.until("api.example.com", "waits for DNS", func(o ownership.CertificateObservation) bool { return o.Message != "" && o.Work == ownership.WorkNone })
	if !strings.Contains(o.Message, "SERVFAIL from 192.0.2.53") || w.ca.placed() != 0 {
		t.Errorf("%q, %d orders", o.Message, w.ca.placed())
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

// An edge may be reachable from everywhere but from itself.
func TestACAsSuccessCountsForMoreThanWhatIsSeenFromHere(t *testing.T) {
	now := epoch
	l := newLedger(openStore(t))
	r := newReach(func() time.Time { return now }, l)
	r.edge = Edge{Name: "203.0.113.10"}
	r.seen, r.since = map[string]sight{"http-01": {why: "refuses"}, "tls-alpn-01": {why: "refuses"}}, epoch
	trusts := func(r *reach, after time.Duration, want bool) {
		t.Helper()
		now = epoch.Add(after)
		if got := r.trusting(www, another); got != want {
			t.Errorf("after %s: %v", after, got)
		}
	}
	trusts(r, 0, false)
	trusts(r, 9*time.Minute, false)
	trusts(r, 10*time.Minute, true) // one trial
	trusts(r, 11*time.Minute, false)
	trusts(r, 71*time.Minute, true) // one an hour
	if w, err := r.succeeded(t.Context(), "dns-01"); err != nil || len(w) > 0 {
		t.Errorf("DNS-01 says something of the edge: %v, %v", w, err)
	}
	trusts(r, 72*time.Minute, false)
	if w, err := r.succeeded(t.Context(), "http-01"); err != nil || len(w) != 1 {
		t.Errorf("who waited is not told: %v, %v", w, err)
	}
	trusts(r, 73*time.Minute, true)
	trusts(r, 74*time.Minute, true)

	// A restart, and another node, know it; of another edge it says nothing.
	again := newLedger(l.store)
	if err := again.load(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	restarted := newReach(func() time.Time { return now }, again)
	restarted.edge = r.edge
	trusts(restarted, 75*time.Minute, true)
	restarted.edge.Name = "203.0.113.11"
	trusts(restarted, 76*time.Minute, false)
	trusts(r, 25*time.Hour, true)
	trusts(r, 25*time.Hour+13*time.Minute, true) // the trial of the hour
	trusts(r, 25*time.Hour+14*time.Minute, false)
}

// Where nothing was met at all an order goes out soon, and the next ones after
// pauses that grow.
func TestSilenceIsDoubted(t *testing.T) {
	now := epoch
	r := newReach(func() time.Time { return now }, newLedger(openStore(t)))
	r.seen, r.since = map[string]sight{"http-01": {"is silent", silent}}, epoch
	var trials []time.Duration
	for ; now.Sub(epoch) < 6*time.Hour; now = now.Add(5 * time.Second) {
		if r.trusting(www, silent) {
			trials = append(trials, now.Sub(epoch))
		}
	}
	if len(trials) < 5 || len(trials) > 14 || trials[0] > 30*time.Second || trials[1]-trials[0] > time.Minute {
		t.Errorf("orders went out after %v", trials)
	}
}

// A refusal is doubted as soon, for routers without hairpin refuse as well, but an
// order goes out only once an hour; somebody else's answer is not doubted so soon.
func TestARefusalIsDoubtedOnce(t *testing.T) {
	now := epoch
	r := newReach(func() time.Time { return now }, newLedger(openStore(t)))
	r.since = epoch
	now = epoch.Add(30 * time.Second)
	if r.trusting(www, another) || !r.trusting(www, refused) {
		t.Error("after half a minute a refusal is to be doubted, and somebody else's answer not")
	}
	now = epoch.Add(50 * time.Minute)
	if r.trusting(www, refused) {
		t.Error("a refusal is doubted twice in an hour")
	}
}

// A listener that expects the PROXY protocol is not somebody else.
func TestAListenerThatExpectsTheProxyProtocolIsNotSomebodyElse(t *testing.T) {
	w, e := newEdge(t)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		return l
	}
	slam, bare := listen(), listen()
	go func() {
		for {
			conn, err := slam.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	srv := &http.Server{Handler: http.NotFoundHandler()}
	t.Cleanup(func() { srv.Close() })
	go func() { _ = srv.Serve(headed{bare}) }() // ends with Close
	e.http.Store(bare.Addr().(*net.TCPAddr))
	e.https.Store(slam.Addr().(*net.TCPAddr))
	sights, err := w.s.reach.look(t.Context(), w.is.cas()[0], www, w.edge)
	if err != nil {
		t.Fatal(err)
	}
	for _, method := range []string{acmez.ChallengeTypeHTTP01, acmez.ChallengeTypeTLSALPN01} {
		if s := sights[method]; s.met != closed || !strings.Contains(s.why, "PROXY protocol") {
			t.Errorf("%s: %+v", method, s)
		}
	}
}

// Such a listener's answer may be there before the question is sent.
func TestAnAnswerBeforeTheQuestionIsHeard(t *testing.T) {
	w, e := newEdge(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	srv := &http.Server{Handler: http.NotFoundHandler()}
	t.Cleanup(func() { srv.Close() })
	go func() { _ = srv.Serve(headed{l}) }() // ends with Close
	e.http.Store(l.Addr().(*net.TCPAddr))
	dial := w.s.reach.dial
	w.s.reach.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		early := make([]byte, 1024)
		n, err := conn.Read(early)
		return answered{conn, io.MultiReader(bytes.NewReader(early[:n]), conn)}, err
	}
	chal := acmez.Challenge{Token: "token", KeyAuthorization: "token.key", Identifier: acmez.Identifier{Type: "dns", Value: www}}
	for range 200 {
		if m, says := w.s.reach.askHTTP(t.Context(), netip.MustParseAddrPort("203.0.113.10:80"), chal); m != closed {
			t.Fatalf("met %d: %s", m, says)
		}
	}
}

// answered is a connection of which something was read already.
type answered struct {
	net.Conn
	r io.Reader
}

func (a answered) Read(b []byte) (int, error) { return a.r.Read(b) }

// headed is a listener whose connections want a header first, as Caddy's
// proxy_protocol with the fallback policy require does.
type headed struct{ net.Listener }

func (h headed) Accept() (net.Conn, error) {
	conn, err := h.Listener.Accept()
	return headedConn{conn}, err
}

type headedConn struct{ net.Conn }

func (headedConn) Read([]byte) (int, error) { return 0, errors.New("proxyproto: no header") }

// The silence of our own edge, which is all that is heard behind NAT without
// hairpin, ends by itself, and everybody who waited is tried at once.
func TestASilentEdgeIsTriedSoon(t *testing.T) {
	w, _ := newEdge(t)
	w.s.reach.dial = func(_ context.Context, network, _ string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: network, Err: context.DeadlineExceeded}
	}
	for _, host := range []string{www, "shop.example.org"} {
		w.s.Want(Want{Hostname: host, UID: "u1", HTTP01: true})
		o := w.until(host, "failed", worked(ownership.WorkFailed))
		if !strings.Contains(o.Message, "does not answer") || !strings.Contains(o.Mend, "edge_check") {
			t.Errorf("message %q, mend %q", o.Message, o.Mend)
		}
	}
	w.s.reach.mu.Lock()
	w.s.reach.since = w.s.reach.since.Add(-2 * reachUnsure)
	w.s.reach.mu.Unlock()
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
	if n := w.ca.count(""); n != 0 {
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

// forget has the edge looked at anew by the next order.
func (r *reach) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at = time.Time{}
}
