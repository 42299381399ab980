package certfiles

import (
	"context"
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
)

// This file puts uploads into certmagic's memory. certmagic finds a certificate under
// every name that the certificate holds, and an upload may hold names of others: of a
// neighbour, or of none of our records. So it is put there under the hostnames of its own
// records alone: by a copy of the parsed leaf that has no other names. What clients are
// sent is the chain's bytes, which stay as they are.
//
// certmagic keeps each chain once. Customers upload one certificate for several of their
// records; it then has all their hostnames, and is put there anew with each. In the moment
// between, uploadManager answers.

// uploadTag marks uploads in certmagic's memory.
const uploadTag = "apoxy-upload"

// maxShelf is for how many hostnames uploads are kept in memory: certmagic drops none of
// them when its memory is full.
const maxShelf = 4096

// uploadShelf is what of certmagic's memory are uploads. It lives as long as that memory, over
// configurations.
type uploadShelf struct {
	cache  *certmagic.Cache
	change sync.Mutex // held for a change, which mu is too short for

	mu     sync.RWMutex
	of     map[string]*shelved // by hostname
	chains map[string]*shelved // by sum
}

// shelved is one chain in memory. It is replaced and never changed.
type shelved struct {
	sum   string
	cert  tls.Certificate
	names []string // hostnames that it is shown for, sorted
	hash  string   // certmagic's name of it; empty: what it has of it is another's
}

var (
	shelves sync.Map // *certmagic.Cache to *uploadShelf
	// shelvedOnce is set once there was an upload in memory: until then handshakes need
	// not look.
	shelvedOnce atomic.Bool
)

// shelfOf is the shelf of a configuration's memory, nil if that cannot be reached.
func shelfOf(cfg *certmagic.Config) *uploadShelf {
	cache := cacheOf(cfg)
	if cache == nil {
		return nil
	}
	if s, ok := shelves.Load(cache); ok {
		return s.(*uploadShelf)
	}
	s, _ := shelves.LoadOrStore(cache, &uploadShelf{cache: cache, of: map[string]*shelved{}, chains: map[string]*shelved{}})
	return s.(*uploadShelf)
}

// get returns what is in memory for a hostname, nil for nothing.
func (s *uploadShelf) get(hostname string) *shelved {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.of[hostname]
}

// put has a hostname shown a chain, and no other one that was put before.
func (s *uploadShelf) put(ctx context.Context, cfg *certmagic.Config, hostname, sum string, cert tls.Certificate) error {
	shelvedOnce.Store(true)
	s.change.Lock()
	defer s.change.Unlock()
	if old := s.get(hostname); old != nil && old.sum == sum {
		return nil
	}
	if err := s.takeOut(ctx, cfg, hostname); err != nil {
		return err
	}
	s.mu.RLock()
	names, other := []string{hostname}, ""
	if there := s.chains[sum]; there != nil {
		names = append(names, there.names...)
	}
	if len(s.of) >= maxShelf {
		for other = range maps.Keys(s.of) {
			break // whichever
		}
	}
	s.mu.RUnlock()
	if err := s.show(ctx, cfg, sum, cert, names); err != nil || other == "" {
		return err
	}
	return s.takeOut(ctx, cfg, other)
}

// drop takes a hostname's upload out of memory.
func (s *uploadShelf) drop(ctx context.Context, cfg *certmagic.Config, hostname string) error {
	s.change.Lock()
	defer s.change.Unlock()
	return s.takeOut(ctx, cfg, hostname)
}

// takeOut is drop where s.change is held.
func (s *uploadShelf) takeOut(ctx context.Context, cfg *certmagic.Config, hostname string) error {
	old := s.get(hostname)
	if old == nil {
		return nil
	}
	rest := slices.DeleteFunc(slices.Clone(old.names), func(n string) bool { return n == hostname })
	return s.show(ctx, cfg, old.sum, old.cert, rest)
}

// show has exactly these hostnames shown a chain. s.change must be held.
func (s *uploadShelf) show(ctx context.Context, cfg *certmagic.Config, sum string, cert tls.Certificate, names []string) error {
	s.mu.Lock()
	old := s.chains[sum]
	if old != nil {
		delete(s.chains, sum)
		for _, n := range old.names {
			delete(s.of, n)
		}
	}
	s.mu.Unlock()
	if old != nil && old.hash != "" {
		s.cache.Remove([]string{old.hash})
	}
	if len(names) == 0 {
		return nil
	}
	next := &shelved{sum: sum, cert: cert, names: slices.Sorted(slices.Values(names))}
	s.mu.Lock()
	s.chains[sum] = next
	for _, n := range names {
		s.of[n] = next
	}
	s.mu.Unlock()
	if s.others(cert, names) {
		return nil
	}
	quiet := *cfg // no question to a responder while a handshake waits: certmagic's maintenance asks within the hour
	quiet.OCSP.DisableStapling = true
	hash, err := quiet.CacheUnmanagedTLSCertificate(ctx, boundTo(cert, next.names), []string{uploadTag})
	if err != nil {
		return fmt.Errorf("keeping an uploaded certificate in memory: %w", err)
	}
	kept := *next
	kept.hash = hash
	s.mu.Lock()
	s.chains[sum] = &kept
	for _, n := range names {
		s.of[n] = &kept
	}
	s.mu.Unlock()
	return nil
}

// others reports whether the operator has loaded the very same chain from files, which is
// then shown for all its names and is not ours to remove.
func (s *uploadShelf) others(cert tls.Certificate, names []string) bool {
	for _, n := range names {
		for _, c := range s.cache.AllMatchingCertificates(n) {
			if !c.HasTag(uploadTag) && slices.EqualFunc(c.Certificate.Certificate, cert.Certificate, slices.Equal) {
				return true
			}
		}
	}
	return false
}

// boundTo is a certificate that certmagic finds under these names alone.
func boundTo(cert tls.Certificate, names []string) tls.Certificate {
	leaf := *cert.Leaf
	leaf.Subject.CommonName = ""
	leaf.DNSNames, leaf.IPAddresses, leaf.EmailAddresses, leaf.URIs = names, nil, nil, nil
	cert.Leaf = &leaf
	return cert
}
