package edge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const www = "www.example.com"

// at203 is a Checker of an edge at 203.0.113.10, in place of which loopback is
// dialled: on 80 and 443 what is given, or nothing.
func at203(t *testing.T, http, https net.Addr) (*Checker, Endpoint) {
	t.Helper()
	c := New(time.Now, &memory{})
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		to := map[string]net.Addr{"203.0.113.10:80": http, "203.0.113.10:443": https}[address]
		if to == nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
		}
		return (&net.Dialer{}).DialContext(ctx, network, to.String())
	}
	return c, Endpoint{Addresses: []netip.Addr{netip.MustParseAddr("203.0.113.10")}}
}

// memory is a Belief that lasts as long as it does.
type memory struct {
	edge  string
	until time.Time
}

func (m *memory) Met(edge string, now time.Time) bool { return edge == m.edge && now.Before(m.until) }

func (m *memory) Meet(_ context.Context, edge string, until, _ time.Time) error {
	m.edge, m.until = edge, until
	return nil
}

// nowhere puts no challenge in place.
type nowhere struct{}

func (nowhere) Put(context.Context, string, acmez.Challenge) error { return nil }
func (nowhere) Remove(context.Context, string) error               { return nil }

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

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
			if got := judge(tt.seen); got.why != tt.why || got.met != tt.met {
				t.Errorf("%+v", got)
			}
		})
	}
}

// An edge may be reachable from everywhere but from itself.
func TestACAsSuccessCountsForMoreThanWhatIsSeenFromHere(t *testing.T) {
	now := epoch
	known := &memory{}
	r := New(func() time.Time { return now }, known)
	r.edge = Endpoint{Name: "203.0.113.10"}
	r.seen, r.since = map[string]sight{"http-01": {why: "refuses"}, "tls-alpn-01": {why: "refuses"}}, epoch
	trusts := func(r *Checker, after time.Duration, want bool) {
		t.Helper()
		now = epoch.Add(after)
		if got := r.trusts(www, another); got != want {
			t.Errorf("after %s: %v", after, got)
		}
	}
	trusts(r, 0, false)
	trusts(r, 9*time.Minute, false)
	trusts(r, 10*time.Minute, true) // one trial
	trusts(r, 11*time.Minute, false)
	trusts(r, 71*time.Minute, true) // one an hour
	if w, err := r.Succeeded(t.Context(), "dns-01"); err != nil || len(w) > 0 {
		t.Errorf("DNS-01 says something of the edge: %v, %v", w, err)
	}
	trusts(r, 72*time.Minute, false)
	if w, err := r.Succeeded(t.Context(), "http-01"); err != nil || len(w) != 1 {
		t.Errorf("who waited is not told: %v, %v", w, err)
	}
	trusts(r, 73*time.Minute, true)
	trusts(r, 74*time.Minute, true)

	// Whoever believes the same knows it; of another edge it says nothing.
	restarted := New(func() time.Time { return now }, known)
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
	r := New(func() time.Time { return now }, &memory{})
	r.seen, r.since = map[string]sight{"http-01": {"is silent", silent}}, epoch
	var trials []time.Duration
	for ; now.Sub(epoch) < 6*time.Hour; now = now.Add(5 * time.Second) {
		if r.trusts(www, silent) {
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
	r := New(func() time.Time { return now }, &memory{})
	r.since = epoch
	now = epoch.Add(30 * time.Second)
	if r.trusts(www, another) || !r.trusts(www, refused) {
		t.Error("after half a minute a refusal is to be doubted, and somebody else's answer not")
	}
	now = epoch.Add(50 * time.Minute)
	if r.trusts(www, refused) {
		t.Error("a refusal is doubted twice in an hour")
	}
}

// A listener that expects the PROXY protocol is not somebody else.
func TestAListenerThatExpectsTheProxyProtocolIsNotSomebodyElse(t *testing.T) {
	slam, bare := listen(t), listen(t)
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
	c, edge := at203(t, bare.Addr(), slam.Addr())
	sights, err := c.current(t.Context(), nowhere{}, www, edge)
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
	l := listen(t)
	srv := &http.Server{Handler: http.NotFoundHandler()}
	t.Cleanup(func() { srv.Close() })
	go func() { _ = srv.Serve(headed{l}) }() // ends with Close
	c, _ := at203(t, l.Addr(), nil)
	dial := c.Dial
	c.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
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
		if m, says := c.askHTTP(t.Context(), netip.MustParseAddrPort("203.0.113.10:80"), chal); m != closed {
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
