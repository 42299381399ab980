package issuance

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// Issuers are the authorities of one configuration, in the order of its issuer
// lines. The zero value is ready for use.
type Issuers struct {
	// Shows says whose certificate a handshake for a hostname, or with a
	// wildcard's name that wildcard's, is shown. It answers from memory; at the
	// start of the process it may wait for the records, while ctx lasts. Set it
	// before the first Set. Default: ShowAny.
	Shows func(ctx context.Context, hostname string) Shown

	mu   sync.Mutex
	list []issuer

	scheduler atomic.Pointer[Scheduler] // whose index tells where certificates lie
	trips     trips
	owns      owns
}

type issuer struct {
	member any
	ca     *ca
}

// Set makes known what an issuer line, identified by member, says, and the
// certmagic configuration that it works for. Further calls replace: Caddy sets
// the configuration of one issuer several times per load, and the last holds.
// The configuration is tuned so that certmagic leaves the timing of renewals
// to the scheduler, its storage is wrapped so that a handshake reads one file, and
// its events pass by here so that a handshake is shown what Shows says.
func (is *Issuers) Set(member any, a Authority, cfg *certmagic.Config, log *zap.Logger) {
	is.mu.Lock()
	defer is.mu.Unlock()
	ratio := is.tune(cfg)
	if is.wrap(cfg, log) {
		is.listen(cfg, log)
	}
	for i := range is.list {
		if is.list[i].member != member {
			continue
		}
		if old := is.list[i].ca; reflect.DeepEqual(old.auth, a) && old.cfg == cfg {
			return
		}
		is.list[i].ca = newCA(a, cfg, ratio, log)
		return
	}
	is.list = append(is.list, issuer{member: member, ca: newCA(a, cfg, ratio, log)})
}

// Remove forgets an issuer line.
func (is *Issuers) Remove(member any) {
	is.mu.Lock()
	defer is.mu.Unlock()
	is.list = slices.DeleteFunc(is.list, func(i issuer) bool { return i.member == member })
}

// cas lists the distinct authorities in order.
func (is *Issuers) cas() []*ca {
	if is == nil {
		return nil
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	out := make([]*ca, 0, len(is.list))
	for _, i := range is.list {
		if !slices.ContainsFunc(out, func(c *ca) bool { return c.key == i.ca.key }) {
			out = append(out, i.ca)
		}
	}
	return out
}

func (is *Issuers) member(member any) *ca {
	if is == nil {
		return nil
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	for _, i := range is.list {
		if i.member == member {
			return i.ca
		}
	}
	return nil
}

// tunedRatio marks a configuration that has been tuned; no operator writes it.
const tunedRatio = 1.0 / 47

// tune keeps certmagic from renewing by itself and returns the ratio that the
// operator set, 0 for none. On a handshake certmagic asks its issuer to renew
// when ARI or the ratio of lifetime remaining says so; both are the
// scheduler's affair, which renews earlier and then evicts the old certificate
// from memory. What is left is certmagic's emergency at a fiftieth of the
// lifetime or five maintenance intervals, when Issue answers that the renewal
// is the scheduler's.
func (is *Issuers) tune(cfg *certmagic.Config) (ratio float64) {
	if cfg.RenewalWindowRatio == tunedRatio {
		for _, i := range is.list {
			if i.ca.cfg == cfg {
				return i.ca.ratio
			}
		}
		return 0
	}
	if ratio = cfg.RenewalWindowRatio; ratio == certmagic.DefaultRenewalWindowRatio {
		ratio = 0
	}
	cfg.DisableARI = true
	cfg.RenewalWindowRatio = tunedRatio
	return ratio
}
