package issuance

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

// This file is what handshakes ask of the index: Index of certfiles.

// Held is where an unexpired certificate for the first of names that has one is
// stored. An empty issuerKey: none is known, or another one is being obtained,
// which storage has before the index.
func (s *Scheduler) Held(names []string) (issuerKey, stored, serial string) {
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		e := s.entries[name]
		if e != nil && e.flight != nil && e.flight.order {
			break
		}
		if e == nil || !e.has() || e.gone() {
			continue
		}
		if _, notAfter := e.times(); now.Before(times.Unix(notAfter)) {
			return e.issuer(), name, e.serialNumber()
		}
	}
	return "", "", ""
}

// Heard has storage looked at for a hostname whose certificate a handshake did not
// find in its place, or found although it was missed, a moment later.
func (s *Scheduler) Heard(hostname string) {
	now := s.now()
	s.mu.Lock()
	last, known := s.heardOf[hostname]
	if !known && len(s.heardOf) >= maxStored {
		for name, at := range s.heardOf {
			if now.Sub(at) >= storedPause {
				delete(s.heardOf, name)
			}
		}
	}
	again := (!known || now.Sub(last) >= storedPause) && (known || len(s.heardOf) < maxStored)
	if again {
		s.heardOf[hostname] = now
	}
	s.mu.Unlock()
	if again {
		// The handshake itself may come to Issue, which sees to it sooner.
		time.AfterFunc(storedPause, func() { s.Stored(context.Background(), hostname) })
	}
}

// Missed reports whether the certificate of a hostname is known to be missing.
func (s *Scheduler) Missed(hostname string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[hostname]
	return e != nil && e.gone()
}

// Told reports whether the event that a certificate is revoked was raised for it
// before, and notes that it is now: certmagic, which asks responders for what it has
// in memory, may learn of it, too.
func (s *Scheduler) Told(cert certmagic.Certificate) bool {
	serial := fmt.Sprintf("%s %x", cert.Leaf.Issuer, cert.Leaf.SerialNumber)
	s.mu.Lock()
	defer s.mu.Unlock()
	told := s.revokedTold[serial]
	if len(s.revokedTold) >= maxRevoked {
		clear(s.revokedTold)
	}
	s.revokedTold[serial] = true
	return told
}
