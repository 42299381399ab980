package certfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// storage wraps the storage of a configuration with issuer apoxy, so that a handshake
// whose certificate is not in certmagic's memory reads one file: see read. Other keys
// pass through unchanged, and certmagic without the wrapper can read all that is
// stored through it.
type storage struct {
	certmagic.Storage
	front *Front
	cfg   *certmagic.Config // whose storage this is
	log   *zap.Logger
}

// wrap puts the wrapper around the storage of cfg; false: it is there already.
// certmagic asks storages for two optional interfaces, TryLocker and
// LockLeaseRenewer. The wrapper has exactly those that the storage has.
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

// wrapper is what wrap puts into a configuration.
type wrapper interface {
	unwrap() certmagic.Storage
	owner() *Front
}

func (s *storage) unwrap() certmagic.Storage { return s.Storage }
func (s *storage) owner() *Front             { return s.front }

// Unwrap returns a storage without our wrapper.
func Unwrap(st certmagic.Storage) certmagic.Storage {
	if w, ok := st.(wrapper); ok {
		return w.unwrap()
	}
	return st
}

// String names the wrapped storage, for logs.
func (s *storage) String() string { return NameOf(s.Storage) }

// Load answers from what the handshake has read already (trips), or reads. Of a .key
// file of our issuers it returns the private key alone.
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

// read answers a handshake that asks for the private key at p, which is how certmagic
// begins to load a certificate. Where the .key file holds chain and metadata, too,
// they are kept for the calls that follow. certmagic would then look at every other CA
// and take the newest certificate. The index knows where that one is, so it is read at
// once, and the other places are answered as empty. That is done only if the file
// there holds the certificate that the index names; otherwise every call reads what it
// asks for. A certificate that is not to be shown is answered as missing.
func (s *storage) read(ctx context.Context, hello *tls.ClientHelloInfo, p place) ([]byte, error) {
	own := s.shown(ctx, p.hostname())
	known, indexed := s.home(ctx, p, own)
	if indexed && known.place != p {
		raw, err := s.Storage.Load(ctx, known.key())
		if b, ok := splitBundle(raw); err == nil && ok && b.serial == known.serial {
			return s.keep(ctx, hello, p, known.place, true, b)
		}
		s.report(known, raw, err)
		indexed = false
	}
	if own == HideOwn {
		return nil, notThere(p.key())
	}
	raw, err := s.Storage.Load(ctx, p.key())
	if err != nil {
		if indexed {
			s.report(known, nil, err)
		}
		return nil, err
	}
	if !indexed {
		s.reportBack(p.hostname())
	}
	if b, ok := splitBundle(raw); ok && (!indexed || b.serial == known.serial) {
		return s.keep(ctx, hello, p, p, indexed, b)
	}
	if indexed {
		s.report(known, raw, nil)
	}
	return keyOf(raw), nil
}

// report tells the index that the certificate it knows of is not in its place, if that
// is what the content that was read there, or the error, means. A private key alone
// does not mean it: chain and metadata may lie in the files beside it.
func (s *storage) report(k known, raw []byte, err error) {
	index := s.front.known()
	if index == nil || err != nil && !errors.Is(err, fs.ErrNotExist) {
		return
	}
	if b, ok := splitBundle(raw); err == nil && (ok && b.serial == k.serial || !ok && isKey(raw)) {
		return
	}
	index.LookAgain(k.hostname())
}

// reportBack tells the index that a certificate which it missed has been found.
func (s *storage) reportBack(hostname string) {
	if index := s.front.known(); index != nil && index.Missed(hostname) {
		index.LookAgain(hostname)
	}
}

// shown says whether the records let handshakes see a name's certificate.
func (s *storage) shown(ctx context.Context, hostname string) Shown {
	if !s.front.rules(s.cfg) {
		return ShowAny
	}
	if s.front.hides(ctx, hostname) {
		return HideOwn // an upload is in its place, which is in memory
	}
	return s.front.Shows(ctx, hostname)
}

// keep remembers the answers to the calls that certmagic makes next for this handshake,
// and returns the answer to the call for p. The bundle was read at from; indexed: it is
// the newest certificate, so all other places are to be answered as empty.
func (s *storage) keep(ctx context.Context, hello *tls.ClientHelloInfo, p, from place, indexed bool, b bundle) ([]byte, error) {
	t := trip{answers: map[string][]byte{from.with(extChain): b.chain, from.with(extMeta): b.meta}}
	if b.unstapled && !s.cfg.OCSP.DisableStapling { // certmagic is going to ask for a staple
		t.staple = stapleSuffix(b.chain)
	}
	if indexed {
		for _, dir := range s.dirs() {
			t.answers[place{dir: dir, name: p.name}.key()] = nil
			t.answers[place{dir: dir, name: from.name}.key()] = nil
		}
	}
	makeRoom(s.cfg, from.hostname())
	t.answers[from.key()] = b.key
	value := t.answers[p.key()]
	delete(t.answers, p.key())
	s.front.trips.put(ctx, hello, t)
	if value == nil {
		return nil, notThere(p.key())
	}
	return value, nil
}

// Store stores a value. After the metadata, the last of the three files of a certificate
// that certmagic stores on a handshake, it joins all three in the .key file.
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
	if err != nil { // no harm: certmagic reads the three files
		s.log.Warn("joining the three files of a certificate failed; handshakes read each of them", zap.String("key", p.key()), zap.Error(err))
	}
	return nil
}

// Delete deletes a value.
func (s *storage) Delete(ctx context.Context, key string) error {
	s.front.trips.drop(helloOf(ctx))
	return s.Storage.Delete(ctx, key)
}

// notThere is the error of a key at which nothing is.
func notThere(key string) error {
	return &fs.PathError{Op: "load", Path: key, Err: fs.ErrNotExist}
}

// helloOf returns the handshake that ctx belongs to, nil if it belongs to none.
func helloOf(ctx context.Context) *tls.ClientHelloInfo {
	hello, _ := ctx.Value(certmagic.ClientHelloInfoCtxKey).(*tls.ClientHelloInfo)
	return hello
}
