package issuance

import (
	"context"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// Want asks for a certificate to be obtained, if there is none, and kept fresh.
type Want struct {
	// Hostname is spec.name of the record.
	Hostname string
	// UID is the record's uid; a certificate issued for another uid with
	// another owner is no proof for this one.
	UID string
	// Owner is the record's tenant; empty without a label.
	Owner string
	// CertificateAuthority is spec.tls.certificateAuthority; empty: any.
	CertificateAuthority string
	// DNS01: the delegation is in place, so DNS-01 can succeed before the cutover.
	DNS01 bool
	// HTTP01: the hostname resolves to us, so HTTP-01 or TLS-ALPN-01 can succeed.
	HTTP01 bool
	// Verified: the record is. Then nothing is ordered while the customer's own
	// certificate is far from its end; before, an order may be what verifies it.
	Verified bool
	// DNS01From and HTTP01From are the earliest times at which the two may be tried, in
	// Unix seconds; 0: now. Resolvers may hold older answers until then.
	DNS01From, HTTP01From int64
	// Since is when the first of the two became possible, in Unix seconds; 0: now. First
	// issuances are served in this order, over restarts too.
	Since int64
}

// startable is the earliest time at which a possible challenge may be tried; zero: now.
func (w Want) startable() time.Time {
	switch {
	case !w.HTTP01:
		return times.Unix(w.DNS01From)
	case !w.DNS01:
		return times.Unix(w.HTTP01From)
	}
	return times.Unix(min(w.DNS01From, w.HTTP01From))
}

// at returns the Want without the challenges that may not be tried yet.
func (w Want) at(now time.Time) Want {
	w.DNS01 = w.DNS01 && !times.Unix(w.DNS01From).After(now)
	w.HTTP01 = w.HTTP01 && !times.Unix(w.HTTP01From).After(now)
	return w
}

// opens is when the next of the possible challenges may be tried that may not be at a
// time; zero: there is none.
func (w Want) opens(now time.Time) (at time.Time) {
	for _, c := range []struct {
		possible bool
		from     int64
	}{{w.DNS01, w.DNS01From}, {w.HTTP01, w.HTTP01From}} {
		if from := times.Unix(c.from); c.possible && from.After(now) && (at.IsZero() || from.Before(at)) {
			at = from
		}
	}
	return at
}

// Prober answers, at the moment of ordering, whether a challenge can succeed.
type Prober interface {
	// Delegated reports whether _acme-challenge of hostname is a CNAME into our zone
	// that is exactly right. The error is ownership.ErrBogus if it is, but its DNSSEC
	// signatures do not hold; any other error means that DNS could not tell.
	Delegated(ctx context.Context, hostname string) (bool, error)
	// CAA returns the relevant CAA record set of hostname as RFC 8659 section 3
	// finds it (climbing, following aliases), Seen or Absent. An error means that DNS
	// could not tell.
	CAA(ctx context.Context, hostname string) (ownership.CAAObservation, error)
	// Arrives reports whether hostname leads to our edge and nowhere else: by a
	// CNAME into our zone or, where a CNAME is not possible, by the edge's addresses
	// and no other one. Errors are as for Delegated.
	Arrives(ctx context.Context, hostname string) (bool, error)
}

// Observer is the face that the controller sees of a Scheduler.
type Observer interface {
	// Want records what a record asks for; idempotent and cheap.
	Want(w Want)
	// Forget drops a hostname: nothing is obtained or renewed for it any more.
	Forget(hostname string)
	// Retry is called when what a hostname failed on has changed: it is tried now, and
	// not when its pause is over, or again after the try that is under way. A CA that
	// asked to wait is not asked earlier.
	Retry(hostname string)
	// Observe tells from memory what is known of the hostname's certificate. Before the
	// index was read, and before storage was searched for the certificate of a wanted
	// hostname, nothing can be told, which is the zero value.
	Observe(hostname string) ownership.CertificateObservation
}
