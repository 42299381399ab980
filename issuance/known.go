package issuance

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// This file is what handshakes ask of the index.

var _ certfiles.Index = (*Scheduler)(nil)

// Held implements certfiles.Index.
func (s *Scheduler) Held(names []string) (issuerKey, stored, serial string) {
	now, decided := s.now(), false
	for _, name := range names {
		s.entries.read(name, func(e *entry) {
			switch {
			case e == nil:
			case e.flight() != nil && e.flight().order:
				decided = true
			case e.has() && !e.gone() && !e.expired(now):
				issuerKey, stored, serial, decided = e.issuer(), name, e.serialNumber(), true
			}
		})
		if decided {
			break
		}
	}
	return issuerKey, stored, serial
}

// Missed implements certfiles.Index.
func (s *Scheduler) Missed(hostname string) (missed bool) {
	s.entries.read(hostname, func(e *entry) { missed = e != nil && e.gone() })
	return missed
}

// LookAgain implements certfiles.Index. It looks a moment later, because the handshake
// itself may come to Issue, which looks at once.
func (s *Scheduler) LookAgain(hostname string) {
	if s.inventory.again(hostname, s.now()) {
		time.AfterFunc(storedPause, func() { s.Stored(context.Background(), hostname) })
	}
}

// Foreign reports whether the known certificate of a hostname was issued for a record of
// another owner than the one with this uid. Such a certificate must not be shown, even
// before it is removed. It does not allocate.
func (s *Scheduler) Foreign(hostname, uid, owner string) (foreign bool) {
	s.entries.read(hostname, func(e *entry) { foreign = e != nil && e.foreign(uid, owner) })
	return foreign
}

// RevocationTold implements certfiles.Index. certmagic asks responders for what it has in
// memory, so both it and pollOCSP may learn of a revocation.
func (s *Scheduler) RevocationTold(cert certmagic.Certificate) bool {
	return s.revocations.note(fmt.Sprintf("%s %x", cert.Leaf.Issuer, cert.Leaf.SerialNumber))
}

// revocationsTold are the certificates, by issuer and serial number, for which the event
// of their revocation was raised. The zero value is ready for use.
type revocationsTold struct {
	mu sync.Mutex
	of map[string]bool
}

// note adds one, and reports whether it was there before.
func (r *revocationsTold) note(serial string) (before bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.of[serial]
	if r.of == nil || len(r.of) >= maxRevoked {
		r.of = map[string]bool{}
	}
	r.of[serial] = true
	return before
}
