package controller

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
)

// InterceptedSentence says that port 53 is intercepted and who must act, without a
// final full stop. It begins a text that is cut at its end.
const interceptedSentence = "port 53 outward is intercepted, so that a resolver answers in place of name servers, even the root's: the operator has it let through"

// ByResolver reports whether a message is a recursive resolver's: it offers
// recursion, and does not speak with authority (RFC 1035 section 4.1.1). A name
// server that is asked for its own zone sets AA.
func byResolver(in *dns.Msg) bool { return in.RecursionAvailable && !in.Authoritative }

// Outward remembers whether what goes out to port 53 is answered by somebody else
// than it was sent to.
type outward struct {
	mu          sync.Mutex
	until       time.Time
	intercepted bool
}

// OutwardFor is how long the finding is believed; after that one look asks again.
const outwardFor = time.Minute

// IsIntercepted asks servers of the root zone, which never offer recursion, for the
// root's SOA, at most every outwardFor. False as well: could not tell.
func (o *outward) isIntercepted(ctx context.Context, r *Resolver) bool {
	o.mu.Lock()
	defer o.mu.Unlock() // others wait for the one that asks, as briefly as it
	if time.Now().Before(o.until) {
		return o.intercepted
	}
	ctx, cancel := context.WithTimeout(ctx, 2*r.cfg.QueryTimeout)
	defer cancel()
	z, err := r.locate(ctx, ".")
	if err != nil {
		return false
	}
	for _, s := range z.servers[:min(len(z.servers), 3)] {
		in, err := r.exchange(ctx, netip.AddrPortFrom(s.addr, r.cfg.Port), dns.Question{Name: ".", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}, queryFlags{}, false)
		if err != nil || !in.Authoritative && !byResolver(in) {
			continue
		}
		if o.intercepted = byResolver(in); o.intercepted {
			r.cfg.Logger.Error(interceptedSentence, zap.String("asked", s.named()))
		}
		o.until = time.Now().Add(outwardFor)
		return o.intercepted
	}
	return false
}
