package certfiles

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Index tells from memory which certificates are stored.
type Index interface {
	// Held returns the unexpired certificate of the first of names that has one: its
	// issuer's key, which of names it is, and its serial number in hexadecimal. An
	// empty issuerKey means that none is known, or that a new one is being obtained,
	// which may be in storage already.
	Held(names []string) (issuerKey, hostname, serial string)
	// Missed reports whether storage is known to lack the certificate of a hostname.
	Missed(hostname string) bool
	// LookAgain has storage looked at for a hostname. It is called when a handshake
	// did not find the certificate in its place, or found one that was missed.
	LookAgain(hostname string)
	// RevocationTold reports whether the event that a certificate is revoked was
	// raised before, and notes that it is raised now.
	RevocationTold(cert certmagic.Certificate) bool
	// Uploaded returns the upload that is in force for exactly this hostname.
	Uploaded(hostname string) (Upload, bool)
	// UploadMissing has storage looked at for an upload that was not found there.
	UploadMissing(u Upload)
}

// Front stands between certmagic and its storage and memory, for the certmagic
// configurations of one Caddy configuration. The zero value is ready for use.
type Front struct {
	// Shows says which certificate a handshake for a hostname is shown; asked with a
	// wildcard's name, whether that wildcard's certificate is. Set it before the first
	// Install. Default: ShowAny.
	Shows func(ctx context.Context, hostname string) Shown
	// Uploads returns the hostname of the record whose uploaded certificate a handshake
	// for a hostname is shown: the hostname itself, or the wildcard over it; empty: none.
	// Set it before the first Install. Default: none.
	Uploads func(ctx context.Context, hostname string) string

	index atomic.Pointer[Index]
	dirs  atomic.Pointer[[]issuerDir]
	trips trips
	owns  owns

	mu     sync.Mutex
	ratios map[*certmagic.Config]float64 // what Install returned
}

// issuerDir is where the certificates of one of our issuers lie.
type issuerDir struct {
	key  string // certmagic's issuer key
	path string // with a final slash
}

// SetIndex sets or replaces the index. Without one every handshake reads storage.
func (f *Front) SetIndex(i Index) { f.index.Store(&i) }

// SetIssuers says which issuers' files are ours, by certmagic's issuer keys: in the
// order of the issuer lines, each once.
func (f *Front) SetIssuers(keys []string) {
	dirs := make([]issuerDir, len(keys))
	for i, key := range keys {
		dirs[i] = issuerDir{key, certmagic.StorageKeys.CertsPrefix(key) + "/"}
	}
	f.dirs.Store(&dirs)
}

// Install changes a configuration so that its storage is wrapped, its events pass by
// the Front, and certmagic leaves renewals to the scheduler. Further calls for the same
// configuration change nothing. It returns the ratio of the lifetime that remains at
// renewal, as the operator set it; 0: not set. log may be nil.
func (f *Front) Install(cfg *certmagic.Config, log *zap.Logger) (ratio float64) {
	if log == nil {
		log = zap.NewNop()
	}
	if f.wrap(cfg, log) {
		cfg.Logger = lazily(cfg.Logger)
		f.listen(cfg, log)
		f.manage(cfg)
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

// dirOf is the folder of an issuer's certificates, empty if the issuer is not ours.
func (f *Front) dirOf(issuerKey string) string {
	all := f.issuers()
	if i := slices.IndexFunc(all, func(d issuerDir) bool { return d.key == issuerKey }); i >= 0 {
		return all[i].path
	}
	return ""
}

// tunedRatio marks a configuration that has been tuned; no operator writes it.
const tunedRatio = 1.0 / 47

// tune keeps certmagic from renewing by itself and returns the ratio that the operator
// set, 0 for none. On a handshake certmagic asks its issuer to renew when ARI or the
// ratio says so. The scheduler renews earlier than that and then evicts the old
// certificate from memory. certmagic still asks at a fiftieth of the lifetime, or five
// maintenance intervals, before the end; the issuer then refuses, because the renewal
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
