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

// Held is where an unexpired certificate for the first of names that has one is
// stored. An empty issuerKey: none is known, or another one is being obtained,
// which storage has before the index.
func (s *Scheduler) Held(names []string) (issuerKey, stored, serial string) {
	now, decided := s.now(), false
	for _, name := range names {
		s.entries.read(name, func(e *entry) {
			switch {
			case e == nil:
			case e.flight != nil && e.flight.order:
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

// Missed reports whether the certificate of a hostname is known to be missing.
func (s *Scheduler) Missed(hostname string) (missed bool) {
	s.entries.read(hostname, func(e *entry) { missed = e != nil && e.gone() })
	return missed
}

// Heard has storage looked at for a hostname whose certificate a handshake did not
// find in its place, or found although it was missed, a moment later: the handshake
// itself may come to Issue, which sees to it sooner.
func (s *Scheduler) Heard(hostname string) {
	if s.inventory.again(hostname, s.now()) {
		time.AfterFunc(storedPause, func() { s.Stored(context.Background(), hostname) })
	}
}

// Foreign reports whether the certificate that there is for a hostname was issued
// for a record of another owner than the one with this uid. It is to be shown to
// nobody then, whether or not it is already removed. It does not allocate.
func (s *Scheduler) Foreign(hostname, uid, owner string) (foreign bool) {
	s.entries.read(hostname, func(e *entry) { foreign = e != nil && e.foreign(uid, owner) })
	return foreign
}

// Told reports whether the event that a certificate is revoked was raised for it
// before, and notes that it is now: certmagic, which asks responders for what it has
// in memory, may learn of it, too.
func (s *Scheduler) Told(cert certmagic.Certificate) bool {
	return s.told.note(fmt.Sprintf("%s %x", cert.Leaf.Issuer, cert.Leaf.SerialNumber))
}

// revokedTold are the certificates, by issuer and serial number, that were told to
// be revoked. The zero value is ready for use.
type revokedTold struct {
	mu sync.Mutex
	of map[string]bool
}

func (r *revokedTold) note(serial string) (before bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before = r.of[serial]
	if r.of == nil || len(r.of) >= maxRevoked {
		r.of = map[string]bool{}
	}
	r.of[serial] = true
	return before
}
