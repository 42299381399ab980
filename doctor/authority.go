package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"
)

const (
	authorityTimeout = 10 * time.Second
	// maxSkew is how far the clock may be off: certificates are valid from an
	// hour before their issuance on, signed tokens live for minutes.
	maxSkew = time.Minute
)

// office is what an authority's ACME directory answered.
type office struct {
	directory string
	// roots is why its configured roots could not be had here; empty: they could.
	roots  string
	status int
	// body holds the fields that every directory has (RFC 8555 section 7.1.1).
	body struct {
		NewNonce   string `json:"newNonce"`
		NewAccount string `json:"newAccount"`
		NewOrder   string `json:"newOrder"`
		Meta       struct {
			CAAIdentities []string `json:"caaIdentities"`
		} `json:"meta"`
	}
	err error
	// odd is why what it answered cannot be read, empty if it can.
	odd string
	// date is its clock, local ours at the same moment; zero: it told none.
	date, local time.Time
}

func (o Options) gatherAuthorities(ctx context.Context, s Setup) []office {
	var out []office
	for _, a := range s.Authorities {
		out = append(out, o.visitAuthority(ctx, a))
	}
	return out
}

func (o Options) visitAuthority(ctx context.Context, a Authority) office {
	f := office{directory: a.Directory}
	var pool *x509.CertPool // nil: the system's
	for _, file := range a.rootFiles() {
		text, err := os.ReadFile(file)
		if err != nil {
			f.roots = err.Error()
			continue
		}
		if pool = with(pool, text); !pemCertificate(text) {
			f.roots = fmt.Sprintf("the file %.200q holds no certificate in PEM", file)
		}
	}
	if a.RootPKI != "" && a.Roots == nil {
		text, err := rootOf(ctx, o.Admin, o.Base, a.RootPKI)
		if err != nil {
			f.roots = err.Error()
		}
		pool = with(pool, []byte(text))
	}
	if a.Roots != nil {
		pool = a.Roots
	}
	ctx, cancel := context.WithTimeout(ctx, authorityTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.Directory, nil)
	if err != nil {
		f.err = err
		return f
	}
	client := &http.Client{Transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true,
	}}
	sent := o.Now()
	resp, err := client.Do(req)
	if err != nil {
		f.err = err
		return f
	}
	defer resp.Body.Close()
	f.local, f.status = sent.Add(o.Now().Sub(sent)/2), resp.StatusCode
	f.date, _ = http.ParseTime(resp.Header.Get("Date"))
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil {
		err = json.Unmarshal(text, &f.body)
	}
	if err != nil {
		f.odd = err.Error()
	}
	return f
}

// rootFiles are those that count.
func (a Authority) rootFiles() []string {
	if a.Roots != nil {
		return nil
	}
	return a.RootFiles
}

// pemCertificate reports whether a text holds a certificate in PEM.
func pemCertificate(text []byte) bool { return x509.NewCertPool().AppendCertsFromPEM(text) }

func with(pool *x509.CertPool, pem []byte) *x509.CertPool {
	if pool == nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(pem)
	return pool
}

const correctDir = "correct `dir` of the issuer: it is the URL of the directory itself"

func judgeAuthorities(offices []office) []Finding {
	const check = "ca"
	if len(offices) == 0 {
		return []Finding{finding(Wrong, check, "issuer apoxy", "no TLS policy has it", "an authority that issues for customers' hostnames",
			"give the https:// site `tls { on_demand; get_certificate apoxy { email … } }`, or `issuer apoxy` there")}
	}
	var out []Finding
	for _, f := range offices {
		expected := "an ACME directory (RFC 8555)"
		switch {
		case f.err != nil && f.roots != "":
			out = append(out, finding(Note, check, f.directory, unwrapped(f.err)+"; its roots: "+f.roots, expected,
				"run the doctor where Caddy runs, as its user, so that it trusts what Caddy trusts"))
		case f.err != nil:
			out = append(out, finding(Wrong, check, f.directory, unwrapped(f.err), expected,
				"let this machine reach it over HTTPS, directly or through HTTPS_PROXY; a certificate that is not trusted needs `trusted_roots`"))
		case f.status >= http.StatusInternalServerError || f.status == http.StatusTooManyRequests:
			out = append(out, finding(Wrong, check, f.directory, fmt.Sprintf("status %d", f.status), expected,
				"the authority is in trouble or limits requests: see its status page and try again later; if it stays so, correct `dir` of the issuer"))
		case f.odd != "":
			out = append(out, finding(Wrong, check, f.directory, fmt.Sprintf("status %d, with what is no ACME directory: %s", f.status, f.odd), expected, correctDir))
		case f.status != http.StatusOK || f.body.NewNonce == "" || f.body.NewAccount == "" || f.body.NewOrder == "":
			out = append(out, finding(Wrong, check, f.directory, fmt.Sprintf("status %d, without the fields of a directory", f.status), expected, correctDir))
		default:
			out = append(out, ok(check, f.directory, "an ACME directory"))
		}
	}
	return append(out, judgeClock(offices)...)
}

// judgeClock compares the clock with those of the authorities that told theirs.
func judgeClock(offices []office) []Finding {
	const check = "clock"
	var out []Finding
	for _, f := range offices {
		if f.date.IsZero() || f.local.IsZero() {
			continue
		}
		off := f.local.Sub(f.date)
		// A Date header is cut to the second.
		if off > maxSkew+time.Second || off < -maxSkew {
			out = append(out, finding(Wrong, check, "against "+f.directory, off.Round(time.Second).String()+" off",
				"less than "+maxSkew.String(), "have the clock set by NTP (timedatectl set-ntp true)"))
			continue
		}
		out = append(out, ok(check, "against "+f.directory, "%s off", off.Round(time.Second)))
	}
	if len(out) == 0 {
		return []Finding{finding(Note, check, "this machine", "no authority told the time", "less than "+maxSkew.String()+" off", "have the clock set by NTP")}
	}
	return out
}

// mostIdentities bounds how many CAA names of one authority count, each of at most 253
// octets, as a domain name has.
const mostIdentities = 16

// identities are the CAA issuer domain names of the authorities that are known.
func identities(offices []office) []string {
	var out []string
	for _, f := range offices {
		for _, name := range f.body.Meta.CAAIdentities[:min(len(f.body.Meta.CAAIdentities), mostIdentities)] {
			if len(name) <= 253 {
				out = append(out, clean(name))
			}
		}
		if len(f.body.Meta.CAAIdentities) == 0 && strings.Contains(f.directory, ".letsencrypt.org/") {
			out = append(out, "letsencrypt.org")
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
