package resolver

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"
)

// interceptedSentence says that port 53 is intercepted and who must act, without a
// final full stop. It begins a text that is cut at its end.
const interceptedSentence = "port 53 outward is intercepted, so that a resolver answers in place of name servers, even the root's: the operator has it let through"

// byResolver reports whether a message is a recursive resolver's: it offers
// recursion, and does not speak with authority (RFC 1035 section 4.1.1). A name
// server that is asked for its own zone sets AA.
func byResolver(in *dns.Msg) bool { return in.RecursionAvailable && !in.Authoritative }

// outward remembers whether what goes out to port 53 is answered by somebody else
// than it was sent to.
type outward struct {
	mu          sync.Mutex
	until       time.Time
	intercepted bool
}

// outwardFor is how long the finding is believed; after that one look asks again.
const outwardFor = time.Minute

func (o *outward) get() (intercepted, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.intercepted, time.Now().Before(o.until)
}

func (o *outward) put(intercepted bool) {
	o.mu.Lock()
	o.intercepted, o.until = intercepted, time.Now().Add(outwardFor)
	o.mu.Unlock()
}

// intercepted reports whether a resolver answers in place of servers of the root
// zone, which never offer recursion. They are asked at most every outwardFor, by one
// for all. False as well: could not tell.
func (r *Resolver) intercepted(ctx context.Context) bool {
	if is, known := r.outward.get(); known {
		return is
	}
	done := r.flights.DoChan(". outward", func() (any, error) { // no name begins so
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*r.cfg.QueryTimeout)
		defer cancel()
		is := r.askRoot(ctx)
		r.outward.put(is)
		return is, nil
	})
	select {
	case res := <-done:
		return res.Val.(bool)
	case <-ctx.Done():
		return false
	}
}

// askRoot asks servers of the root zone for its SOA until one is heard.
func (r *Resolver) askRoot(ctx context.Context) (byResolvers bool) {
	z, err := r.locate(ctx, ".")
	if err != nil {
		return false
	}
	for _, s := range z.servers[:min(len(z.servers), 3)] {
		in, err := r.exchange(ctx, netip.AddrPortFrom(s.addr, r.cfg.Port), dns.Question{Name: ".", Qtype: dns.TypeSOA, Qclass: dns.ClassINET}, queryFlags{}, false)
		switch {
		case err != nil:
		case byResolver(in):
			r.cfg.Logger.Error(interceptedSentence, zap.String("asked", s.named()))
			return true
		case in.Authoritative:
			return false
		}
	}
	return false
}
