package tunnel

import (
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What agent and edge say to each other. The agent sends an HTTP/1.1 request that
// asks for an upgrade (RFC 9110 section 7.8), because that is what every proxy and
// firewall on port 443 lets through and what any HTTP server can hand over without
// knowing it; the token stands in Authorization (RFC 6750). After the answer 101
// both sides speak HTTP/2 with prior knowledge (RFC 9113 section 3.3), the edge as
// its client.
//
// Upgrades inside the tunnel, as to WebSocket, go over one HTTP/2 stream as in RFC
// 8441, but name the protocol in the header field headerUpgrade: Go's servers take
// the pseudo-header of an extended CONNECT only if an environment variable of the
// process says so, and then offer it to the browsers of every site.
const (
	// PathPrefix is what the path of a handshake begins with; the tunnel's name
	// follows.
	PathPrefix = "/.well-known/apoxy-tunnel/"
	// Protocol is what the handshake asks to upgrade to.
	Protocol = "apoxy-tunnel-1"

	headerAgent   = "Apoxy-Tunnel-Agent"   // the agent's name, in the handshake
	headerAgentID = "Apoxy-Tunnel-Id"      // tells the agent's process from others
	headerControl = "Apoxy-Tunnel-Control" // a request to the agent itself
	headerUpgrade = "Apoxy-Tunnel-Upgrade" // request: asks for this protocol; answer: it is spoken now
	headerExpect  = "Apoxy-Tunnel-Expect"  // Expect, which the HTTP/2 server consumes
	headerError   = "Apoxy-Tunnel-Error"   // the answer is the agent's own: errorDial or errorOrigin
	headerDetail  = "Apoxy-Tunnel-Detail"  // the sentence that belongs to headerError

	errorDial   = "dial"   // the origin could not be connected to, and has seen nothing
	errorOrigin = "origin" // the origin was connected to and did not answer
)

// inner are the fields that mean something inside the tunnel. Nobody outside may
// set or see them.
var inner = [...]string{headerControl, headerUpgrade, headerExpect, headerError, headerDetail}

const (
	maxHeaderBytes = 1 << 20
	streamWindow   = 1 << 20 // what one stream may have under way unread
	// connectionWindow is so large that what slow readers leave unread never stops
	// the other streams; each of them is bounded by streamWindow.
	connectionWindow = 1 << 30
	frameSize        = 128 << 10
	agentStreams     = 10000
	maxLine          = 4 << 10 // of what an agent says of itself
)

// Timing is how soon either side acts. The zero value means the defaults.
type Timing struct {
	// PingAfter is how long a connection may be silent before it is pinged, and
	// PingTimeout how long the answer may take. Default: 4s each, so that a dead
	// peer is known within 10s.
	PingAfter, PingTimeout time.Duration
	// Drain is how long requests in flight on a connection that is being given
	// up may go on. Default: 5s at the edge, 30s in the agent.
	Drain time.Duration
	// Status is how often the edge asks an agent how it is, and measures the
	// round trip. Default: 15s.
	Status time.Duration
	// Check is how often the agent looks whether its origin answers. Default: 3s.
	Check time.Duration
	// RetryFirst and RetryMost bound the pause before an agent dials again.
	// Default: 200ms and 30s.
	RetryFirst, RetryMost time.Duration
}

func (t Timing) withDefaults(drain time.Duration) Timing {
	for _, d := range []struct {
		value *time.Duration
		is    time.Duration
	}{
		{&t.PingAfter, 4 * time.Second}, {&t.PingTimeout, 4 * time.Second}, {&t.Drain, drain},
		{&t.Status, 15 * time.Second}, {&t.Check, 3 * time.Second},
		{&t.RetryFirst, 200 * time.Millisecond}, {&t.RetryMost, 30 * time.Second},
	} {
		if *d.value <= 0 {
			*d.value = d.is
		}
	}
	return t
}

// status is one line of what an agent says of itself, as JSON.
type status struct {
	Seq      uint64 `json:"seq"`                // the last ping that was seen
	Origin   string `json:"origin,omitempty"`   // why the origin does not answer; empty: it does
	Draining bool   `json:"draining,omitempty"` // the agent is about to leave
}

// Handshake returns the name of the tunnel that an agent wants to join by a
// request; ok is false for a request that is none of an agent's.
func Handshake(r *http.Request) (name string, ok bool) {
	escaped, ok := strings.CutPrefix(r.URL.EscapedPath(), PathPrefix)
	if !ok || !strings.EqualFold(r.Header.Get("Upgrade"), Protocol) {
		return "", false
	}
	name, err := url.PathUnescape(escaped)
	return name, err == nil
}

// handshakePath is the path of a handshake for a tunnel.
func handshakePath(name string) string { return PathPrefix + url.PathEscape(name) }

// digest stands for a token wherever one is kept or compared.
type digest [sha256.Size]byte

func digestOf(token string) digest { return sha256.Sum256([]byte(token)) }

// printable is foreign text made fit for a log or a message: printable ASCII, no
// longer than n.
func printable(s string, n int) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), n)])
	return strings.TrimSpace(s)
}

// h2only are the protocols spoken inside the tunnel.
func h2only() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}
