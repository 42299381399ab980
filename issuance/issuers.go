package issuance

import (
	"context"
	"reflect"
	"slices"
	"sync"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// Issuers are the CAs of one configuration, in the order of its issuer lines. The zero
// value is ready for use.
type Issuers struct {
	// Shows is certfiles.Front.Shows. It answers from memory; at the start of the
	// process it may wait for the records until ctx ends. Set it before the first Set.
	Shows func(ctx context.Context, hostname string) certfiles.Shown

	// Uploads is certfiles.Front.Uploads, on the same terms.
	Uploads func(ctx context.Context, hostname string) string

	mu   sync.Mutex
	list []issuer

	front certfiles.Front
}

type issuer struct {
	member any
	ca     *ca
}

// Set sets what an issuer line, identified by member, says, and the certmagic
// configuration that it belongs to. Another call for the same member replaces that:
// Caddy sets the configuration of an issuer several times in one load. The configuration
// is changed as certfiles.Front.Install says.
func (is *Issuers) Set(member any, a acme.Authority, cfg *certmagic.Config, log *zap.Logger) {
	is.mu.Lock()
	defer is.mu.Unlock()
	defer is.named()
	is.front.Shows, is.front.Uploads = is.Shows, is.Uploads
	ratio := is.front.Install(cfg, log)
	for i := range is.list {
		if is.list[i].member != member {
			continue
		}
		if old := is.list[i].ca; reflect.DeepEqual(old.Auth, a) && old.cfg == cfg {
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
	is.named()
}

// cas lists the distinct authorities in order.
func (is *Issuers) cas() []*ca {
	if is == nil {
		return nil
	}
	is.mu.Lock()
	defer is.mu.Unlock()
	return is.distinct()
}

// named tells the front which issuers' files are ours. is.mu must be held.
func (is *Issuers) named() {
	var keys []string
	for _, c := range is.distinct() {
		keys = append(keys, c.Key)
	}
	is.front.SetIssuers(keys)
}

// distinct is cas where is.mu is held.
func (is *Issuers) distinct() []*ca {
	out := make([]*ca, 0, len(is.list))
	for _, i := range is.list {
		if !slices.ContainsFunc(out, func(c *ca) bool { return c.Key == i.ca.Key }) {
			out = append(out, i.ca)
		}
	}
	return out
}

// member is the CA of an issuer line, nil if it is not set.
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

// ca is a CA in one configuration.
type ca struct {
	*acme.CA
	cfg      *certmagic.Config
	ratio    float64  // of the lifetime that remains at renewal; 0: as renewalTime says
	identity string   // acme.Authority.Identity
	names    []string // acme.Authority.Names
	methods  []string // acme.Authority.Methods
}

func newCA(a acme.Authority, cfg *certmagic.Config, ratio float64, log *zap.Logger) *ca {
	return &ca{CA: acme.NewCA(a, func() certmagic.Storage { return cfg.Storage }, log), cfg: cfg, ratio: ratio,
		identity: a.Identity(), names: a.Names(), methods: a.Methods()}
}
