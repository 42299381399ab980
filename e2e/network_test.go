package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// The network itself is proven before anything is tested on it.

func TestNetworkResolvesThroughDelegations(t *testing.T) {
	n := network(t)
	domain := customer(t, n, "resolves")
	domain.set(t, "www A 192.0.2.7", "api CNAME www")
	addrs, err := net.DefaultResolver.LookupHost(t.Context(), "api."+domain.name)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"192.0.2.7"}; !slices.Equal(addrs, want) {
		t.Fatalf("api.%s resolves to %v, want %v", domain.name, addrs, want)
	}
}

func TestNetworkEditedZoneIsLiveAtOnce(t *testing.T) {
	n := network(t)
	domain := customer(t, n, "edited")
	for _, addr := range []string{"192.0.2.1", "192.0.2.2", "192.0.2.3"} {
		start := time.Now()
		domain.set(t, "www A "+addr)
		t.Logf("an edited zone was live after %v", time.Since(start).Round(time.Millisecond))
		eventually(t, 5*time.Second, "the resolver to give "+addr, func() error {
			return resolvesTo(t.Context(), "www."+domain.name, addr)
		})
	}
}

func TestNetworkForeignServerIsTrusted(t *testing.T) {
	n := network(t)
	domain := customer(t, n, "foreign")
	domain.set(t, "www A "+testnet.ForeignAddr)
	body, err := visit(t.Context(), client(n.ForeignPEM), "https://www."+domain.name+"/")
	if err != nil {
		t.Fatal(err)
	}
	if body != testnet.ForeignBody {
		t.Fatalf("the foreign server answers %q, want %q", body, testnet.ForeignBody)
	}
}

func TestNetworkBrowserShowsAForeignPage(t *testing.T) {
	n := network(t)
	domain := customer(t, n, "shown")
	domain.set(t, "www A "+testnet.ForeignAddr)
	started := time.Now()
	contains(t, newBrowser(t, n.ForeignRoot).open(t, "https://www."+domain.name+"/"), testnet.ForeignBody)
	t.Logf("the browser took %v to show a page", time.Since(started).Round(time.Millisecond))
}

func TestNetworkCAIssuesForWhatItValidates(t *testing.T) {
	n := network(t)
	domain := customer(t, n, "issues")
	const webAddr = "127.0.0.41"
	for name, solve := range map[string]solver{
		acme.ChallengeTypeDNS01: func(challenge acme.Challenge) error {
			domain.set(t, "_acme-challenge TXT "+challenge.DNS01KeyAuthorization())
			return nil
		},
		acme.ChallengeTypeHTTP01: func(challenge acme.Challenge) error {
			listener, err := net.Listen("tcp", webAddr+":80")
			if err != nil {
				return err
			}
			server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == challenge.HTTP01ResourcePath() {
					_, _ = w.Write([]byte(challenge.KeyAuthorization)) // the CA reports what it did not get
				}
			})}
			t.Cleanup(func() { server.Close() })
			go func() { _ = server.Serve(listener) }() // ends with Close
			domain.set(t, "@ A "+webAddr)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			before := n.CA.Orders(domain.name)
			verifyChain(t, issueByHand(t, n.CA, domain.name, name, solve), domain.name, n.CA.RootPEM)
			if got := n.CA.Orders(domain.name) - before; got != 1 {
				t.Fatalf("the proxy before the CA counted %d orders for %s, want 1", got, domain.name)
			}
		})
	}
}

// solver puts the answer to a challenge where the CA looks.
type solver func(acme.Challenge) error

func (s solver) Present(_ context.Context, c acme.Challenge) error { return s(c) }
func (s solver) CleanUp(context.Context, acme.Challenge) error     { return nil }

// issueByHand obtains a certificate with one challenge type and returns its chain.
func issueByHand(t *testing.T, ca *testnet.CA, name, kind string, solve solver) []byte {
	t.Helper()
	trust, err := os.ReadFile(ca.Trust)
	if err != nil {
		t.Fatal(err)
	}
	acmeClient := acmez.Client{
		Client:           &acme.Client{Directory: ca.Directory, HTTPClient: client(trust)},
		ChallengeSolvers: map[string]acmez.Solver{kind: solve},
	}
	accountKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	account, err := acmeClient.NewAccount(t.Context(), acme.Account{TermsOfServiceAgreed: true, PrivateKey: accountKey})
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := acmeClient.ObtainCertificateForSANs(t.Context(), account, key, []string{name})
	if err != nil {
		t.Fatal(err)
	}
	return certs[0].ChainPEM
}

// verifyChain fails the test unless the PEM chain is good for name under root.
func verifyChain(t *testing.T, chain []byte, name string, root []byte) {
	t.Helper()
	block, rest := pem.Decode(chain)
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: pool(root), Intermediates: pool(rest)}); err != nil {
		t.Fatal(err)
	}
}

func TestNetworkLosesAnswersWithTheServer(t *testing.T) {
	n := network(t)
	spare := spareProvider(t)
	if err := n.Delegate("dark.com", spare); err != nil {
		t.Fatal(err)
	}
	if err := spare.SetZone("dark.com", "www A 192.0.2.9"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the zone on the spare server", func() error {
		return resolvesTo(t.Context(), "www.dark.com", "192.0.2.9")
	})
	if err := spare.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, 30*time.Second, "the resolver to fail", func() error {
		err := resolvesTo(t.Context(), "www.dark.com", "192.0.2.9")
		if err == nil || strings.Contains(err.Error(), "no such host") {
			return errorf("the resolver still answers: %v", err)
		}
		return nil
	})
}
