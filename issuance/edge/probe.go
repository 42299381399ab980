package edge

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"syscall"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// acmeIdentifier is the extension of a TLS-ALPN-01 certificate (RFC 8737 section 3).
var acmeIdentifier = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}

// survey puts a challenge of its own where all challenges are put and asks for it at each
// address of the edge as a CA does. It returns the sightings by challenge type.
func (r *Checker) survey(ctx context.Context, at Challenges, hostname string, edge Endpoint) (map[string][]sighting, error) {
	token := rand.Text()
	chal := acmez.Challenge{
		Type: acmez.ChallengeTypeHTTP01, Token: token, KeyAuthorization: token + "." + rand.Text(),
		Identifier: acmez.Identifier{Type: "dns", Value: hostname},
	}
	defer func() { _ = at.Remove(context.WithoutCancel(ctx), hostname) }() // the next challenge overwrites what stays
	if err := at.Put(ctx, hostname, chal); err != nil {
		return nil, fmt.Errorf("putting a challenge in place failed: %w", err)
	}
	bounded, cancel := context.WithTimeout(ctx, surveyTimeout)
	defer cancel()
	var wg sync.WaitGroup
	addrs := edge.Addresses[:min(len(edge.Addresses), mostAddresses)]
	plain, alpn := make([]sighting, len(addrs)), make([]sighting, len(addrs))
	for i, a := range addrs {
		wg.Go(func() { plain[i] = r.ask(bounded, a, 80, edge.HTTPPort, r.askHTTP, chal) })
		wg.Go(func() { alpn[i] = r.ask(bounded, a, 443, edge.HTTPSPort, r.askTLS, chal) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return map[string][]sighting{acmez.ChallengeTypeHTTP01: plain, acmez.ChallengeTypeTLSALPN01: alpn}, nil
}

// ask asks at the port that CAs use and, if we do not answer there, at our own port that
// it is mapped to; 0: none. how is askHTTP or askTLS.
func (r *Checker) ask(ctx context.Context, a netip.Addr, port, own int,
	how func(context.Context, netip.AddrPort, acmez.Challenge) (encounter, string), chal acmez.Challenge) sighting {
	try := func(port int) sighting {
		m, detail := how(ctx, netip.AddrPortFrom(a, uint16(port)), chal)
		return sighting{a, m, "port " + strconv.Itoa(port) + " " + detail}
	}
	s := try(port)
	if s.met != ourselves && own != 0 && own != port {
		if inside := try(own); inside.met == ourselves {
			return inside
		}
	}
	return s
}

// patient is a connection that is not read from before something was written. A server
// that expects the PROXY protocol may answer before the request, which net/http would
// report as an error of its own.
type patient struct {
	net.Conn
	once  sync.Once
	asked chan struct{}
}

func (c *patient) Read(b []byte) (int, error) {
	<-c.asked
	return c.Conn.Read(b)
}

func (c *patient) Write(b []byte) (int, error) {
	defer c.once.Do(func() { close(c.asked) })
	return c.Conn.Write(b)
}

func (c *patient) Close() error {
	defer c.once.Do(func() { close(c.asked) })
	return c.Conn.Close()
}

// askHTTP asks for an HTTP-01 challenge (RFC 8555 section 8.3). Like CAs it follows
// redirects to the same host and does not verify certificates. It returns what it met
// and, for a message, what was seen.
func (r *Checker) askHTTP(ctx context.Context, at netip.AddrPort, chal acmez.Challenge) (encounter, string) {
	transport := &http.Transport{
		DisableKeepAlives: true, MaxResponseHeaderBytes: 16 << 10,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			to := at
			if _, port, err := net.SplitHostPort(address); err == nil && port == "443" {
				to = netip.AddrPortFrom(at.Addr(), 443)
			}
			conn, err := r.Dial(ctx, network, to.String())
			if err != nil {
				return nil, err
			}
			return &patient{Conn: conn, asked: make(chan struct{})}, nil
		},
	}
	host := chal.Identifier.Value
	client := &http.Client{Transport: transport, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		if p := req.URL.Port(); len(via) >= 10 || req.URL.Hostname() != host || p != "" && p != "80" && p != "443" {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+chal.HTTP01ResourcePath(), nil)
	if err != nil {
		return unseen, "cannot be asked: " + words.Cut(err.Error(), 100)
	}
	res, err := client.Do(req)
	if err != nil {
		return met(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 512))
	if err != nil {
		return met(err)
	}
	if res.StatusCode == http.StatusOK && strings.TrimSpace(string(body)) == chal.KeyAuthorization {
		return ourselves, "answers"
	}
	if res.StatusCode == http.StatusBadRequest && res.Header.Get("Server") == "" && strings.HasPrefix(string(body), "400 Bad Request") {
		// This is how Go's server answers a connection without the PROXY header.
		return closed, "answers with a bare 400, as where the PROXY protocol is expected"
	}
	by := ""
	if server := res.Header.Get("Server"); server != "" {
		by = " from " + strconv.Quote(words.Cut(server, 40))
	}
	return another, fmt.Sprintf("answers with %d%s in place of the challenge", res.StatusCode, by)
}

// askTLS asks for a TLS-ALPN-01 challenge (RFC 8737 section 3), as askHTTP does.
func (r *Checker) askTLS(ctx context.Context, at netip.AddrPort, chal acmez.Challenge) (encounter, string) {
	conn, err := r.Dial(ctx, "tcp", at.String())
	if err != nil {
		return met(err)
	}
	defer conn.Close()
	// The certificate is self-signed; what counts is the extension in it.
	client := tls.Client(conn, &tls.Config{ServerName: chal.Identifier.Value,
		NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true})
	if err := client.HandshakeContext(ctx); err != nil {
		return met(err)
	}
	sum := sha256.Sum256([]byte(chal.KeyAuthorization))
	want, err := asn1.Marshal(sum[:])
	if err != nil {
		return unseen, "cannot be asked: " + err.Error()
	}
	for _, ext := range client.ConnectionState().PeerCertificates[0].Extensions {
		if ext.Id.Equal(acmeIdentifier) && bytes.Equal(ext.Value, want) {
			return ourselves, "answers"
		}
	}
	return another, "answers with another certificate in place of the challenge"
}

// met says what an error of a connection means, and puts it into words.
func met(err error) (encounter, string) {
	var ne net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return refused, "refuses the connection"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		return unseen, "cannot be reached from here"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &ne) && ne.Timeout():
		return silent, fmt.Sprintf("does not answer within %s", surveyTimeout)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return closed, "closes the connection without an answer, as where the PROXY protocol is expected"
	}
	return another, "answers with an error: " + words.Cut(err.Error(), 100)
}
