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

// CA is an Authority in use: its client, whose nonces and connections all flows share,
// and its account. Its methods may be called at the same time.
type CA struct {
	// Key is Auth.Key, and Auth what the issuer line says.
	Key  string
	Auth Authority
	// Storage returns the storage for accounts, challenges and certificates.
	Storage func() certmagic.Storage
	// Client makes the requests. It does not wait for orders; Flow does.
	Client *acmez.Client
	log    *zap.Logger

	naming     sync.Once
	ledgerKey  string                   // what LedgerKey returns, once it was called
	identities atomic.Pointer[[]string] // from the directory, nil until it was read
	accepted   atomic.Bool              // the CA has accepted the account, and not refused it since
	turn       chan struct{}            // holds a token while Alone finds out whether it does
	accountMu  sync.Mutex
	acct       acmez.Account          // zero: none is in memory
	url        atomic.Pointer[string] // acct.Location
}

// maxIdleConns is how many idle connections to a CA are kept open.
const maxIdleConns = 32

// NewCA returns the CA of an Authority, with the storage that storage returns whenever
// it is called. It makes no request. log may be nil.
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
			PollTimeout: -1, // acmez would wait for an order for as long as the CA says
			Logger: slog.New(zapslog.NewHandler(log.Core(), zapslog.WithName("acme"),
				zapslog.AddStacktraceAt(slog.Level(127)))),
		},
	}
}

// Site is what the CA has in storage for a hostname.
func (c *CA) Site(hostname string) certfiles.Site {
	return certfiles.At(c.Storage(), c.Key, hostname)
}

// Challenges are the challenges of the CA in storage, which Caddy answers.
func (c *CA) Challenges() certfiles.Challenges {
	return certfiles.Challenges{Storage: c.Storage(), IssuerKey: c.Key}
}

// within returns a context for one call to the CA. It reads the directory first, which
// acmez would otherwise do within the call: acmez makes all other CAs wait for that,
// so it gets a shorter time. acmez remembers the directory.
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

// LedgerKey names CA and account in the ledger of holds and budgets: the CA's key and
// the configured email address.
func (c *CA) LedgerKey() string {
	c.naming.Do(func() { // once, because it is asked for with every hostname that is due
		email := certmagic.StorageKeys.Safe(c.Auth.Email)
		if email == "" {
			email = "default"
		}
		c.ledgerKey = certmagic.StorageKeys.Safe(c.Key) + "/" + email
	})
	return c.ledgerKey
}

// CaaIdentities returns the issuer domain names by which CAA records mean this CA: those
// in its directory (RFC 8555 section 7.1.1, caaIdentities), else those that are known
// here. The error is that of reading the directory.
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

// KnownIdentities is CaaIdentities without a request: it uses the directory only if
// that was read before.
func (c *CA) KnownIdentities() []string {
	if read := c.identities.Load(); read != nil {
		return *read
	}
	if k := knownCAs[c.Auth.Host()]; k.identity != "" {
		return []string{k.identity}
	}
	return nil
}

// choose returns the chain that the operator prefers, else the CA's first.
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
