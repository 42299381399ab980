package certfiles

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Index is what is known of certificates without a look into storage.
type Index interface {
	// Held is where an unexpired certificate for the first of names that has one is
	// stored. An empty issuerKey: none is known, or another one is being obtained,
	// which storage has before the index.
	Held(names []string) (issuerKey, stored, serial string)
	// Missed reports whether the certificate of a hostname is known to be missing.
	Missed(hostname string) bool
	// Heard has storage looked at for a hostname whose certificate a handshake did
	// not find in its place, or found although it was missed.
	Heard(hostname string)
	// Told reports whether the event that a certificate is revoked was raised for it
	// before, and notes that it is now.
	Told(cert certmagic.Certificate) bool
}

// Front stands before storage and memory of the certmagic configurations that the
// issuers of one Caddy configuration work for. The zero value is ready for use.
type Front struct {
	// Shows says whose certificate a handshake for a hostname, or with a
	// wildcard's name that wildcard's, is shown. Set it before the first Install.
	// Default: ShowAny.
	Shows func(ctx context.Context, hostname string) Shown

	index atomic.Pointer[Index]
	dirs  atomic.Pointer[[]issuerDir]
	trips trips
	owns  owns

	mu     sync.Mutex
	ratios map[*certmagic.Config]float64
}

// issuerDir is where the certificates of one of our issuers lie.
type issuerDir struct {
	key  string // certmagic's issuer key
	path string // with a final slash
}

// SetIndex gives or replaces the index.
func (f *Front) SetIndex(i Index) { f.index.Store(&i) }

// SetIssuers says whose files are ours: certmagic's issuer keys in the order of
// the issuer lines, each once.
func (f *Front) SetIssuers(keys []string) {
	dirs := make([]issuerDir, len(keys))
	for i, key := range keys {
		dirs[i] = issuerDir{key, certmagic.StorageKeys.CertsPrefix(key) + "/"}
	}
	f.dirs.Store(&dirs)
}

// Install puts the Front before storage and events of a configuration, and leaves
// the timing of renewals to the scheduler; once, however often it is called. It
// returns the ratio of lifetime remaining at renewal that the operator set, 0 for
// none.
func (f *Front) Install(cfg *certmagic.Config, log *zap.Logger) (ratio float64) {
	if log == nil {
		log = zap.NewNop()
	}
	if f.wrap(cfg, log) {
		f.listen(cfg, log)
	}
	return f.tune(cfg)
}

func (f *Front) known() Index {
	if i := f.index.Load(); i != nil {
		return *i
	}
	return nil
}

func (f *Front) issuers() []issuerDir {
	if d := f.dirs.Load(); d != nil {
		return *d
	}
	return nil
}

// dirOf is where the certificates of an issuer of ours lie; empty: it is not ours.
func (f *Front) dirOf(issuerKey string) string {
	all := f.issuers()
	if i := slices.IndexFunc(all, func(d issuerDir) bool { return d.key == issuerKey }); i >= 0 {
		return all[i].path
	}
	return ""
}

// tunedRatio marks a configuration that has been tuned; no operator writes it.
const tunedRatio = 1.0 / 47

// tune keeps certmagic from renewing by itself and returns the ratio that the
// operator set, 0 for none. On a handshake certmagic asks its issuer to renew
// when ARI or the ratio of lifetime remaining says so; both are the
// scheduler's affair, which renews earlier and then evicts the old certificate
// from memory. What is left is certmagic's emergency at a fiftieth of the
// lifetime or five maintenance intervals, when the issuer answers that the renewal
// is the scheduler's.
func (f *Front) tune(cfg *certmagic.Config) (ratio float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if cfg.RenewalWindowRatio == tunedRatio {
		return f.ratios[cfg]
	}
	if ratio = cfg.RenewalWindowRatio; ratio == certmagic.DefaultRenewalWindowRatio {
		ratio = 0
	}
	if f.ratios == nil {
		f.ratios = map[*certmagic.Config]float64{}
	}
	f.ratios[cfg] = ratio
	cfg.DisableARI = true
	cfg.RenewalWindowRatio = tunedRatio
	return ratio
}
