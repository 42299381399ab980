package issuance

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"net"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"
)

// ca is one authority at work: its client, whose nonces and connections all
// issuances share, and its account.
type ca struct {
	key    string // certmagic's issuer key
	auth   Authority
	cfg    *certmagic.Config
	ratio  float64 // of lifetime remaining at renewal; 0: the scheduler's own rule
	client *acme.Client
	log    *zap.Logger

	accountMu sync.Mutex
	acct      acme.Account
}

func newCA(a Authority, cfg *certmagic.Config, ratio float64, log *zap.Logger) *ca {
	if log == nil {
		log = zap.NewNop()
	}
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 2 * time.Minute}
	proxy := a.Proxy
	if proxy == nil {
		proxy = http.ProxyFromEnvironment
	}
	next := &http.Transport{
		Proxy:                 proxy,
		DialContext:           dialer.DialContext,
		TLSHandshakeTimeout:   30 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   defaultConcurrency,
		IdleConnTimeout:       90 * time.Second,
	}
	if a.TrustedRoots != nil {
		next.TLSClientConfig = &tls.Config{RootCAs: a.TrustedRoots}
	}
	agent := "caddy-apoxy"
	if certmagic.UserAgent != "" {
		agent = certmagic.UserAgent + " " + agent
	}
	return &ca{
		key:   a.Key(),
		auth:  a,
		cfg:   cfg,
		ratio: ratio,
		log:   log,
		client: &acme.Client{
			Directory:    a.directory(),
			HTTPClient:   &http.Client{Transport: transport{next}, Timeout: certmagic.HTTPTimeout},
			UserAgent:    agent,
			PollInterval: 150 * time.Millisecond,
			PollTimeout:  a.timeout(),
			Logger: slog.New(zapslog.NewHandler(log.Core(), zapslog.WithName("acme"),
				zapslog.AddStacktraceAt(slog.Level(127)))),
		},
	}
}

func (a Authority) timeout() time.Duration {
	if a.Timeout > 0 {
		return a.Timeout
	}
	return 5 * time.Minute
}

func (c *ca) storage() certmagic.Storage { return c.cfg.Storage }

// ledgerKey names CA and account in the ledger, without asking anyone.
func (c *ca) ledgerKey() string {
	email := certmagic.StorageKeys.Safe(c.auth.Email)
	if email == "" {
		email = "default"
	}
	return certmagic.StorageKeys.Safe(c.key) + "/" + email
}

// caaIdentities are the CAA issuer domain names that the CA answers to: as its
// directory says, else as is known of it.
func (c *ca) caaIdentities(ctx context.Context) ([]string, error) {
	dir, err := c.client.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if dir.Meta != nil && len(dir.Meta.CAAIdentities) > 0 {
		return dir.Meta.CAAIdentities, nil
	}
	return c.auth.identities(), nil
}

// Issuers are the authorities of one configuration, in the order of its issuer
// lines. The zero value is ready for use.
type Issuers struct {
	mu   sync.Mutex
	list []issuer
}

type issuer struct {
	member any
	ca     *ca
}

// Set makes known what an issuer line, identified by member, says, and the
// certmagic configuration that it works for. Further calls replace: Caddy sets
// the configuration of one issuer several times per load, and the last holds.
// The configuration is tuned so that certmagic leaves the timing of renewals
// to the scheduler.
func (is *Issuers) Set(member any, a Authority, cfg *certmagic.Config, log *zap.Logger) {
	is.mu.Lock()
	defer is.mu.Unlock()
	ratio := is.tune(cfg)
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

// choose picks a chain by the operator's preference, else the CA's first.
func choose(chains []acme.Certificate, p certmagic.ChainPreference) acme.Certificate {
	if p.Smallest != nil {
		slices.SortStableFunc(chains, func(a, b acme.Certificate) int {
			d := len(a.ChainPEM) - len(b.ChainPEM)
			if !*p.Smallest {
				return -d
			}
			return d
		})
	}
	parsed := make([][]*x509.Certificate, len(chains))
	for i, c := range chains {
		for rest := c.ChainPEM; ; {
			var b *pem.Block
			if b, rest = pem.Decode(rest); b == nil {
				break
			}
			if cert, err := x509.ParseCertificate(b.Bytes); err == nil {
				parsed[i] = append(parsed[i], cert)
			}
		}
	}
	for _, cn := range p.AnyCommonName {
		for i, chain := range parsed {
			if slices.ContainsFunc(chain, func(c *x509.Certificate) bool { return c.Issuer.CommonName == cn }) {
				return chains[i]
			}
		}
	}
	for _, cn := range p.RootCommonName {
		for i, chain := range parsed {
			if len(chain) > 0 && chain[len(chain)-1].Issuer.CommonName == cn {
				return chains[i]
			}
		}
	}
	return chains[0]
}
