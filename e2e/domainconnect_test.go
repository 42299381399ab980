package e2e

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A DNS provider with Domain Connect, after the public specification, and its host.
const (
	connectAddr = "127.0.0.44"
	connectHost = "connect.dcprovider.com"
)

// connector is that provider: it has taken up the template that the command line
// writes, and edits the customer's zone when a link's signature holds.
type connector struct {
	t        *testing.T
	customer *domain
	template struct {
		ProviderID       string `json:"providerId"`
		ServiceID        string `json:"serviceId"`
		SyncPubKeyDomain string `json:"syncPubKeyDomain"`
		Records          []struct{ Type, GroupID, Host, PointsTo string }
	}
	records []string // what the customer's zone holds
}

func (c *connector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := "/v2/domainTemplates/providers/" + c.template.ProviderID + "/services/" + c.template.ServiceID
	switch r.URL.Path {
	case "/v2/" + c.customer.name + "/settings":
		fmt.Fprintf(w, `{"providerId":"dcprovider.com","providerName":"DC","urlSyncUX":"https://%s","urlAPI":"https://%[1]s/api"}`, connectHost)
	case "/api" + path:
		w.WriteHeader(http.StatusOK)
	case path + "/apply":
		if err := c.apply(r); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
		}
	default:
		http.NotFound(w, r)
	}
}

func (c *connector) apply(r *http.Request) error {
	signed, rest, _ := strings.Cut(r.URL.RawQuery, "&sig=")
	if !strings.Contains(rest, "&key=") {
		return fmt.Errorf("no signature and key at the end of %q", r.URL.RawQuery)
	}
	q := r.URL.Query()
	key, err := c.publicKey(q.Get("key"))
	if err != nil {
		return err
	}
	sig, err := base64.StdEncoding.DecodeString(q.Get("sig"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(signed))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], sig); err != nil {
		return err
	}
	fqdn := q.Get("host") + "." + q.Get("domain")
	for _, rec := range c.template.Records {
		if !strings.Contains(","+q.Get("groupId")+",", ","+rec.GroupID+",") {
			continue
		}
		name := fqdn
		if rec.Host != "@" {
			name = rec.Host + "." + fqdn
		}
		to := strings.NewReplacer("%fqdn%", fqdn, "%token%", q.Get("token")).Replace(rec.PointsTo)
		c.records = append(c.records, name+". "+rec.Type+" "+to+".")
	}
	c.customer.set(c.t, c.records...)
	return nil
}

// publicKey is what the product's zone publishes, by everyone's resolver.
func (c *connector) publicKey(label string) (*rsa.PublicKey, error) {
	in, err := testnet.Ask(testnet.ResolverAddr, label+"."+c.template.SyncPubKeyDomain, dns.TypeTXT)
	if err != nil {
		return nil, err
	}
	parts := make([]string, len(in.Answer)+1)
	for _, rr := range in.Answer {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			continue
		}
		p, rest, _ := strings.Cut(strings.TrimPrefix(strings.Join(txt.Txt, ""), "p="), ",a=RS256,d=")
		n, err := strconv.Atoi(p)
		if err != nil || n < 1 || n >= len(parts) {
			return nil, fmt.Errorf("a record of the key is %q", txt.Txt)
		}
		parts[n] = rest
	}
	der, err := base64.StdEncoding.DecodeString(strings.Join(parts, ""))
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, err
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("the key is a %T", key)
	}
	return public, nil
}

// link is status.domainConnect.url of a record.
func (p *product) link(t *testing.T, name string) string {
	t.Helper()
	var r struct {
		Status struct {
			DomainConnect struct {
				URL string `json:"url"`
			} `json:"domainConnect"`
		} `json:"status"`
	}
	if err := call(t.Context(), http.MethodGet, recordsPath+"/"+name, nil, &r); err != nil {
		t.Fatal(err)
	}
	return r.Status.DomainConnect.URL
}

// A customer whose provider has the template clicks once, and the domain is served;
// another who moves from elsewhere clicks twice, the second time when the certificate is
// ready.
func TestDomainConnect(t *testing.T) {
	n := network(t)
	authority, err := testnet.NewAuthority("the DNS provider's CA")
	if err != nil {
		t.Fatal(err)
	}
	roots := filepath.Join(t.TempDir(), "roots.pem")
	if err := os.WriteFile(roots, authority.PEM, 0o644); err != nil {
		t.Fatal(err)
	}
	p := start(t, n, settings{checkInterval: time.Second, env: []string{"SSL_CERT_FILE=" + roots}})
	p.reconfigure(t, "check_interval", "domain_connect {\n\t\t\tprovider_id example.net\n\t\t\tservice_id custom-domain\n\t\t}\n\t\tcheck_interval")

	c := &connector{t: t, customer: customer(t, n, "oneclick")}
	template, err := p.caddy(t.Context(), "", "apoxy", "domainconnect", "template", "--zone", testnet.Zone, "--provider-id", "example.net", "--service-id", "custom-domain")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(template), &c.template); err != nil {
		t.Fatal(err)
	}
	host := &domain{name: "dcprovider.com", server: n.Provider}
	if err := n.Delegate(host.name, host.server); err != nil {
		t.Fatal(err)
	}
	host.set(t, connectHost+". A "+connectAddr)
	cert, err := authority.Issue(connectHost)
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", connectAddr+":443", &tls.Config{Certificates: []tls.Certificate{*cert}})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-done })

	browser := client(authority.PEM)
	click := func(t *testing.T, name, groups string) {
		t.Helper()
		var link string
		// A try that failed, as one that the machine was too busy for, is repeated after a minute.
		eventually(t, 100*time.Second, "the link of "+name+" for "+groups, func() error {
			if link = p.link(t, name); !strings.Contains(link, "groupId="+groups+"&") {
				p.look(t, name)
				return errorf("it is %q", link)
			}
			return nil
		})
		if _, err := visit(t.Context(), browser, link); err != nil {
			t.Fatal(err)
		}
	}
	c.records = []string{"_domainconnect TXT " + connectHost, "old A " + testnet.ForeignAddr}
	c.customer.set(t, c.records...)

	t.Run("one click where nothing answers", func(t *testing.T) {
		name := "new." + c.customer.name
		p.create(t, name, true)
		click(t, name, "certificate%2Ctraffic")
		p.await(t, name, 30*time.Second, "the domain to be served", is("Ready=True/Ready", "ACMEChallengeDelegationReady=True"))
		eventually(t, 20*time.Second, "the link to be gone", func() error {
			if link := p.link(t, name); link != "" {
				return errorf("it is %s", link)
			}
			return nil
		})
	})

	t.Run("the certificate first where an old site answers", func(t *testing.T) {
		name := "old." + c.customer.name
		p.create(t, name, true)
		click(t, name, "certificate")
		p.await(t, name, 30*time.Second, "the certificate", is("TLSReady=True", "CNAMEConfigured=False"))
		c.records = c.records[:1:1] // the provider asks whether the old record may go
		c.records = append(c.records, "_acme-challenge.old CNAME _acme-challenge."+name+"."+testnet.Zone+".")
		click(t, name, "traffic")
		p.await(t, name, 30*time.Second, "the cutover", is("Ready=True/Ready", "CNAMEConfigured=True"))
	})
}
