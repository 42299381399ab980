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

// Issuers are the authorities of one configuration, in the order of its issuer
// lines. The zero value is ready for use.
type Issuers struct {
	// Shows says whose certificate a handshake for a hostname, or with a
	// wildcard's name that wildcard's, is shown. It answers from memory; at the
	// start of the process it may wait for the records, while ctx lasts. Set it
	// before the first Set. Default: ShowAny.
	Shows func(ctx context.Context, hostname string) certfiles.Shown

	mu   sync.Mutex
	list []issuer

	front certfiles.Front
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
func (is *Issuers) Set(member any, a acme.Authority, cfg *certmagic.Config, log *zap.Logger) {
	is.mu.Lock()
	defer is.mu.Unlock()
	defer is.named()
	is.front.Shows = is.Shows
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

// named tells the front whose files are ours. is.mu must be held.
func (is *Issuers) named() {
	var keys []string
	for _, c := range is.distinct() {
		keys = append(keys, c.Key)
	}
	is.front.SetIssuers(keys)
}

// distinct is cas for those who hold is.mu.
func (is *Issuers) distinct() []*ca {
	out := make([]*ca, 0, len(is.list))
	for _, i := range is.list {
		if !slices.ContainsFunc(out, func(c *ca) bool { return c.Key == i.ca.Key }) {
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

// ca is a CA in one configuration.
type ca struct {
	*acme.CA
	cfg      *certmagic.Config
	ratio    float64  // of lifetime remaining at renewal; 0: the scheduler's own rule
	identity string   // of its account, as the issuer line says
	names    []string // what records may call it, lower case
	methods  []string // challenge types that are not ruled out, best first
}

func newCA(a acme.Authority, cfg *certmagic.Config, ratio float64, log *zap.Logger) *ca {
	return &ca{CA: acme.NewCA(a, func() certmagic.Storage { return cfg.Storage }, log), cfg: cfg, ratio: ratio,
		identity: a.Identity(), names: a.Names(), methods: a.Methods()}
}
