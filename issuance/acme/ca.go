package acme

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
	"go.uber.org/zap/exp/zapslog"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// CA is one authority at work: its client, whose nonces and connections all
// issuances share, and its account.
type CA struct {
	Key     string // certmagic's issuer key
	Auth    Authority
	Storage func() certmagic.Storage
	Client  *acmez.Client
	log     *zap.Logger

	naming     sync.Once
	ledgerKey  string                   // see LedgerKey, once it was asked for
	identities atomic.Pointer[[]string] // as the directory told them
	accepted   atomic.Bool              // the CA has taken the account, and not refused it since
	turn       chan struct{}            // held by who finds that out
	accountMu  sync.Mutex
	acct       acmez.Account
	url        atomic.Pointer[string] // of acct
}

// maxIdleConns bounds the connections to a CA that are kept open.
const maxIdleConns = 32

// NewCA returns a CA that keeps its account in what storage returns. log: nil for
// none.
func NewCA(a Authority, storage func() certmagic.Storage, log *zap.Logger) *CA {
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
		MaxIdleConnsPerHost:   maxIdleConns,
		IdleConnTimeout:       90 * time.Second,
	}
	if a.TrustedRoots != nil {
		next.TLSClientConfig = &tls.Config{RootCAs: a.TrustedRoots}
	}
	agent := "caddy-apoxy"
	if certmagic.UserAgent != "" {
		agent = certmagic.UserAgent + " " + agent
	}
	return &CA{
		Key:     a.Key(),
		Auth:    a,
		Storage: storage,
		log:     log,
		turn:    make(chan struct{}, 1),
		Client: &acmez.Client{
			Directory:   a.directory(),
			HTTPClient:  &http.Client{Transport: Transport{Next: next}, Timeout: certmagic.HTTPTimeout},
			UserAgent:   agent,
			PollTimeout: -1, // acmez does not wait for an order: it would for as long as the CA says
			Logger: slog.New(zapslog.NewHandler(log.Core(), zapslog.WithName("acme"),
				zapslog.AddStacktraceAt(slog.Level(127)))),
		},
	}
}

func (a Authority) WaitTimeout() time.Duration {
	if a.Timeout > 0 {
		return a.Timeout
	}
	return 5 * time.Minute
}

// Challenges are those of the CA that Caddy answers.
func (c *CA) Challenges() certfiles.Challenges {
	return certfiles.Challenges{Storage: c.Storage(), IssuerKey: c.Key}
}

// within bounds a call to the CA. What acmez fetches first, the directory, is
// fetched here in a shorter time, because it keeps every other CA's waiting.
func (c *CA) within(ctx context.Context) (context.Context, context.CancelFunc, error) {
	first, cancel := context.WithTimeout(ctx, directoryTimeout)
	_, err := c.Client.GetDirectory(first)
	cancel()
	if err != nil {
		return nil, nil, fmt.Errorf("reading the directory: %w", err)
	}
	ctx, cancel = context.WithTimeout(ctx, callTimeout)
	return ctx, cancel, nil
}

// LedgerKey names CA and account, without asking anyone.
func (c *CA) LedgerKey() string {
	c.naming.Do(func() { // it is asked for with every hostname that is due
		email := certmagic.StorageKeys.Safe(c.Auth.Email)
		if email == "" {
			email = "default"
		}
		c.ledgerKey = certmagic.StorageKeys.Safe(c.Key) + "/" + email
	})
	return c.ledgerKey
}

// CaaIdentities are the CAA issuer domain names that the CA answers to: as its
// directory says, else as is known of it.
func (c *CA) CaaIdentities(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, directoryTimeout)
	defer cancel()
	dir, err := c.Client.GetDirectory(ctx)
	if err != nil {
		return nil, err
	}
	if dir.Meta != nil && len(dir.Meta.CAAIdentities) > 0 {
		c.identities.Store(&dir.Meta.CAAIdentities)
	}
	return c.KnownIdentities(), nil
}

// KnownIdentities is caaIdentities without a request.
func (c *CA) KnownIdentities() []string {
	if told := c.identities.Load(); told != nil {
		return *told
	}
	return c.Auth.identities()
}

// choose picks a chain by the operator's preference, else the CA's first.
func choose(chains []acmez.Certificate, p certmagic.ChainPreference) acmez.Certificate {
	if p.Smallest != nil {
		slices.SortStableFunc(chains, func(a, b acmez.Certificate) int {
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
