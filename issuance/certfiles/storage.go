package certfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// storage stands before the storage of a policy with issuer apoxy, so that a
// handshake that misses certmagic's memory reads once: see read. It changes
// nothing for other keys, and what lies in storage stays readable without it.
type storage struct {
	certmagic.Storage
	front *Front
	cfg   *certmagic.Config // that it stands in
	log   *zap.Logger
}

// wrap puts a storage in place in cfg, once however often it is called.
// certmagic asks storages for two more interfaces; the wrapped one has exactly
// those that it had before. false: it was there already.
func (f *Front) wrap(cfg *certmagic.Config, log *zap.Logger) bool {
	if w, ok := cfg.Storage.(wrapper); ok && w.owner() == f {
		return false
	}
	inner := Unwrap(cfg.Storage)
	s := &storage{Storage: inner, front: f, cfg: cfg, log: log}
	try, tries := inner.(certmagic.TryLocker)
	lease, leases := inner.(certmagic.LockLeaseRenewer)
	switch {
	case tries && leases:
		cfg.Storage = struct {
			*storage
			tryLocker
			certmagic.LockLeaseRenewer
		}{s, try, lease}
	case tries:
		cfg.Storage = struct {
			*storage
			tryLocker
		}{s, try}
	case leases:
		cfg.Storage = struct {
			*storage
			certmagic.LockLeaseRenewer
		}{s, lease}
	default:
		cfg.Storage = s
	}
	return true
}

// tryLocker is what certmagic.TryLocker has beyond certmagic.Storage.
type tryLocker interface {
	TryLock(ctx context.Context, name string) (bool, error)
}

// wrapper is a storage that wrap made.
type wrapper interface {
	unwrap() certmagic.Storage
	owner() *Front
}

func (s *storage) unwrap() certmagic.Storage { return s.Storage }
func (s *storage) owner() *Front             { return s.front }

// Unwrap is a storage without our wrapper.
func Unwrap(st certmagic.Storage) certmagic.Storage {
	if w, ok := st.(wrapper); ok {
		return w.unwrap()
	}
	return st
}

// String names the wrapped storage, for logs.
func (s *storage) String() string { return NameOf(s.Storage) }

// Load answers from what the handshake has read already, or reads. The .key
// files of our issuers are handed out as keys alone.
func (s *storage) Load(ctx context.Context, key string) ([]byte, error) {
	hello := helloOf(ctx)
	if value, err, ok := s.front.trips.take(hello, key); ok {
		return value, err
	}
	p, ok := s.front.site(key)
	if !ok || p.ext != extKey {
		return s.Storage.Load(ctx, key)
	}
	if hello != nil {
		return s.read(ctx, hello, p)
	}
	raw, err := s.Storage.Load(ctx, key)
	if err != nil {
		return nil, err
	}
	return keyOf(raw), nil
}

// read reads for a handshake that asks for the key at p, which is how certmagic
// begins to load a certificate. If the file holds all three, chain and metadata
// wait for the calls that follow. certmagic goes on to every other CA and takes
// the newest certificate; the index knows where that is, so it is read first,
// and the other places are answered as empty: only once it was read, and only
// while the index has the same certificate. Otherwise every call reads what it
// asks for. What is not to be shown is not there.
func (s *storage) read(ctx context.Context, hello *tls.ClientHelloInfo, p place) ([]byte, error) {
	own := s.shown(ctx, p.hostname())
	known, indexed := s.home(ctx, p, own)
	if indexed && known.place != p {
		raw, err := s.Storage.Load(ctx, known.key())
		if b, ok := splitBundle(raw); err == nil && ok && b.serial == known.serial {
			return s.keep(ctx, hello, p, known.place, true, b)
		}
		s.heard(known, raw, err)
		indexed = false
	}
	if own == HideOwn {
		return nil, notThere(p.key())
	}
	raw, err := s.Storage.Load(ctx, p.key())
	if err != nil {
		if indexed {
			s.heard(known, nil, err)
		}
		return nil, err
	}
	if !indexed {
		s.heardBack(p.hostname())
	}
	if b, ok := splitBundle(raw); ok && (!indexed || b.serial == known.serial) {
		return s.keep(ctx, hello, p, p, indexed, b)
	}
	if indexed {
		s.heard(known, raw, nil)
	}
	return keyOf(raw), nil
}

// heard has the index look for a certificate on record if what was read in its
// place, or the error, says that it is not there. A key alone says nothing: the two
// other files lie beside it.
func (s *storage) heard(k known, raw []byte, err error) {
	index := s.front.known()
	if index == nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if b, ok := splitBundle(raw); err == nil && (ok && b.serial == k.serial || !ok && isKey(raw)) {
		return
	}
	index.Heard(k.hostname())
}

// heardBack has the index look for one that was missed and is there.
func (s *storage) heardBack(hostname string) {
	if index := s.front.known(); index != nil && index.Missed(hostname) {
		index.Heard(hostname)
	}
}

// shown is what the records say of a name's certificate.
func (s *storage) shown(ctx context.Context, hostname string) Shown {
	if !s.front.rules(s.cfg) {
		return ShowAny
	}
	return s.front.Shows(ctx, hostname)
}

// keep remembers the answers to the calls that certmagic makes next, and gives
// the one to the call for p.
func (s *storage) keep(ctx context.Context, hello *tls.ClientHelloInfo, p, from place, indexed bool, b bundle) ([]byte, error) {
	t := trip{answers: map[string][]byte{from.with(extChain): b.chain, from.with(extMeta): b.meta}}
	if b.unstapled && !s.cfg.OCSP.DisableStapling { // else certmagic looks for a staple with every certificate
		t.staple = stapleSuffix(b.chain)
	}
	if indexed {
		for _, dir := range s.dirs() {
			t.answers[place{dir: dir, name: p.name}.key()] = nil
			t.answers[place{dir: dir, name: from.name}.key()] = nil
		}
	}
	t.answers[from.key()] = b.key
	value := t.answers[p.key()]
	delete(t.answers, p.key())
	s.front.trips.put(ctx, hello, t)
	if value == nil {
		return nil, notThere(p.key())
	}
	return value, nil
}

// Store stores. When certmagic has stored the last of the three files of a
// certificate that it asked us for on a handshake, the .key file is made whole.
func (s *storage) Store(ctx context.Context, key string, value []byte) error {
	s.front.trips.drop(helloOf(ctx))
	if err := s.Storage.Store(ctx, key, value); err != nil {
		return err
	}
	p, ok := s.front.site(key)
	if !ok || p.ext != extMeta {
		return nil
	}
	raw, err := s.Storage.Load(ctx, p.key())
	if err == nil {
		err = completeKey(ctx, s.Storage, p, raw)
	}
	if err != nil { // and nothing is lost: the three files are there
		s.log.Warn("a certificate's files were not joined", zap.String("key", p.key()), zap.Error(err))
	}
	return nil
}

// Delete deletes.
func (s *storage) Delete(ctx context.Context, key string) error {
	s.front.trips.drop(helloOf(ctx))
	return s.Storage.Delete(ctx, key)
}

func notThere(key string) error {
	return &fs.PathError{Op: "load", Path: key, Err: fs.ErrNotExist}
}

// helloOf is the handshake that ctx belongs to, nil for none.
func helloOf(ctx context.Context) *tls.ClientHelloInfo {
	hello, _ := ctx.Value(certmagic.ClientHelloInfoCtxKey).(*tls.ClientHelloInfo)
	return hello
}
