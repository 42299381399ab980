package dnsprovider

import (
	"hash/maphash"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// DefaultRateLimit is how many answers a second of each kind a network gets over
// UDP whose clients have not proven their address. Name servers in general count
// by question, too; here a network has one measure for whatever it asks, so it
// is a larger one.
const DefaultRateLimit = 500

// MaxRateLimit bounds what may be configured; more is as good as no limit.
const MaxRateLimit = 1_000_000

// answerKind is one of the kinds that answers are counted by, each by itself, so that a
// flood of one kind takes nothing from the others.
type answerKind uint8

const (
	kindAnswer answerKind = iota
	kindNXDomain
	kindError
	answerKinds
)

func kindOf(rcode int) answerKind {
	switch rcode {
	case dns.RcodeSuccess:
		return kindAnswer
	case dns.RcodeNameError:
		return kindNXDomain
	}
	return kindError
}

// verdict is what becomes of an answer.
type verdict uint8

const (
	// send it as it is.
	send verdict = iota
	// truncate it: who has asked comes over TCP, and nobody else is sent more
	// than was asked.
	truncate
	// drop it.
	drop
)

// limiterBuckets is how many buckets a limiter has: half a mebibyte of them.
const limiterBuckets = 1 << 16

// limiter measures what each network is sent. Its size is fixed, whatever
// addresses occur: networks whose hashes meet share a bucket, and are limited
// together, which costs a client with a DNS cookie nothing and any other a
// question over TCP. The seed is random, so that nobody can aim at a bucket.
type limiter struct {
	seed maphash.Seed
	// buckets are those of GCRA (the generic cell rate algorithm): each holds, above
	// its last bit, the theoretical arrival time in nanoseconds of the caller's clock.
	// The last bit says whether the next answer over the rate is dropped.
	buckets [limiterBuckets]atomic.Uint64
}

// take decides about one answer of a kind to addr. The rate is one answer every
// interval, and the answers of a second may come at once. Of those over the rate every
// second one is truncated, the others are dropped. now is of a clock that never falls.
func (l *limiter) take(addr netip.Addr, kind answerKind, interval, now time.Duration) verdict {
	b := &l.buckets[l.bucket(addr, kind)]
	for {
		old := b.Load()
		due := max(time.Duration(old>>1), now) + interval
		if due <= now+time.Second {
			if b.CompareAndSwap(old, uint64(due)<<1|old&1) {
				return send
			}
			continue
		}
		if b.CompareAndSwap(old, old^1) {
			return truncate + verdict(old&1)
		}
	}
}

// bucket is where answers of a kind to the network around addr are counted: a
// /24 of IPv4, a /56 of IPv6, what one client may have.
func (l *limiter) bucket(addr netip.Addr, kind answerKind) uint64 {
	var key [9]byte
	if addr.Is4() {
		a := addr.As4()
		copy(key[1:], a[:3])
	} else {
		a := addr.As16()
		copy(key[1:], a[:7])
		key[8] = 6
	}
	key[0] = byte(kind)
	return maphash.Bytes(l.seed, key[:]) % limiterBuckets
}
