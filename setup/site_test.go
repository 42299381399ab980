package setup

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// memory is records by name, for a site to show.
type memory struct {
	mu      sync.Mutex
	records map[string]*v1alpha3.DomainRecord
	err     error
	old     bool
	reads   []string
	looks   []string
	changed chan int64
}

func (m *memory) Record(_ context.Context, name string) (*v1alpha3.DomainRecord, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.reads = append(m.reads, name)
	if m.err != nil {
		return nil, false, m.err
	}
	r, ok := m.records[name]
	if !ok {
		return nil, false, store.ErrNotFound
	}
	return r.DeepCopy(), m.old, nil
}

func (m *memory) Changed(ctx context.Context, _ string, revision int64) (int64, error) {
	for {
		select {
		case now := <-m.changed:
			if now != revision {
				return now, nil
			}
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (m *memory) Look(_ *http.Request, hostname string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.looks = append(m.looks, hostname)
}

func (m *memory) Addresses() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("2001:db8::10"), netip.MustParseAddr("203.0.113.10")}
}

func (m *memory) looked() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.looks)
}

// newSite is a site at https://setup.example.net that shows records.
func newSite(t *testing.T, o Options, records ...*v1alpha3.DomainRecord) (*Site, *memory) {
	t.Helper()
	m := &memory{records: map[string]*v1alpha3.DomainRecord{}, changed: make(chan int64)}
	for _, r := range records {
		m.records[r.Name] = r
	}
	if o.URL == "" {
		o.URL = "https://setup.example.net"
	}
	s, err := New(o, Config{
		Records: m, Now: func() time.Time { return testNow },
		Key: func(context.Context) ([]byte, error) { return testKey, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s, m
}

func linkTo(t testing.TB, r *v1alpha3.DomainRecord) string {
	t.Helper()
	return signed(t, Link{Name: r.Name, UID: string(r.UID), Expires: testNow.Add(time.Hour)})
}

func get(s http.Handler, path string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

func wants(t *testing.T, is, page string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if without, ok := strings.CutPrefix(text, "!"); ok {
			if strings.Contains(page, without) {
				t.Errorf("%s: it has %q", is, without)
			}
		} else if !strings.Contains(page, text) {
			t.Errorf("%s: it lacks %q", is, text)
		}
	}
	if t.Failed() {
		t.Logf("%s: %s", is, page)
	}
}

func TestThePageShowsWhatTheCustomerNeeds(t *testing.T) {
	r := record("api.example.com", problem(delegation, ownership.ProblemTXTInsteadOfCNAME, `TXT "x"`))
	r.Annotations = map[string]string{"note": "secret-note"}
	s, m := newSite(t, Options{Title: "Example Inc.", Support: "help@example.net"}, r)
	w := get(s, "/"+linkTo(t, r))
	if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("answered with %d, %v", w.Code, w.Header())
	}
	wants(t, "the page", w.Body.String(),
		`<html lang="en" dir="ltr">`, "Example Inc.", "Set up <code", "api.example.com",
		"_acme-challenge.api", "_acme-challenge.api.example.com.cname.example.net",
		"_acme-challenge.api.example.com. 300 IN CNAME _acme-challenge.api.example.com.cname.example.net.",
		"There is a record of type TXT.", "TXT &#34;x&#34;", "Later", "Needs attention", `href="mailto:help@example.net"`, "mailto:?subject=DNS%20records%20for%20api.example.com",
		`data-live="/`, "at=7", `id="said"`, `aria-live="polite"`,
		"!secret-", "!words for operators", "!poxy-challenge", "!Caddy", "!caddy", "!<style", "!style=", "!onclick", "!<script>",
	)
	if m.looked() != 1 {
		t.Errorf("DNS is looked at %d times for a page that was opened", m.looked())
	}
}

// A record changes its page, and each state says what is to be done.
func TestThePageSaysWhenTheCutoverIsSafe(t *testing.T) {
	for _, c := range []struct {
		is    string
		r     *v1alpha3.DomainRecord
		texts []string
	}{
		{"before", record("api.example.com"), []string{"Next: create the record of step 1.", "Wait until the certificate is ready.", "0 of 3 steps", "!switch now"}},
		{"elsewhere before the cutover", record("api.example.com", problem(traffic, ownership.ProblemOldTarget, "CNAME old.example.")), []string{"CNAME old.example.", "!Replace its value"}},
		{"elsewhere at the cutover", record("api.example.com", configured(delegation), certified, verified, problem(traffic, ownership.ProblemOldTarget, "CNAME old.example.")), []string{"Replace its value with", "!callout bad", "!Needs attention"}},
		{"ready", record("api.example.com", configured(delegation), certified, verified), []string{"Your certificate is ready: switch now, no visitor will notice.", "2 of 3 steps"}},
		{"ready and nobody there", record("api.example.com", configured(delegation), certified, verified, unhealthy), []string{"Please wait with the switch", "!switch now", "!secret", "!message of"}},
		{"done", record("api.example.com", configured(delegation, traffic), certified, verified), []string{"All done: your domain is connected.", "3 of 3 steps", "Nothing is left to do for api.example.com."}},
		{"CAA", record("api.example.com", configured(delegation), notCertified(v1alpha3.ReasonCAAForbidden)), []string{"CAA records forbid", `<blockquote lang="en" dir="ltr">message of CAAForbidden`}},
		{"failing", record("api.example.com", configured(delegation), notCertified(v1alpha3.ReasonCertificateError)), []string{"takes longer than usual", "!message of"}},
		{"still cached", record("api.example.com", configured(delegation), problem(delegation, ownership.ProblemStillCached, "CNAME x.")), []string{"Some servers still remember the old one"}},
		{"detached", record("api.example.com", func(r *v1alpha3.DomainRecord) { r.Status.Phase = v1alpha3.PhaseDetached }), []string{"To come back, create them again."}},
		{"an unknown reason", record("api.example.com", problem(delegation, "<b>Mine</b>", "CNAME x.")), []string{"Something about this record is not right yet.", "!<b>"}},
		{"at the top of a zone", record("example.com", configured(delegation), certified, verified), []string{"is the top of its zone", "ALIAS", "<code dir=\"ltr\">A 203.0.113.10</code>", "AAAA 2001:db8::10", ">@</code>"}},
		{"a wildcard", record("*.example.com"), []string{"Set up <code dir=\"ltr\">*.example.com", "_wildcard.example.com.cname.example.net"}},
		{"an internationalized name", record("xn--mller-kva.example"), []string{"müller.example", "xn--mller-kva.example"}},
		{"a known provider", record("api.example.com", func(r *v1alpha3.DomainRecord) {
			r.Status.DNSProvider = &v1alpha3.DNSProviderStatus{Name: "Cloudflare", ControlPanel: "https://evil.example/"}
		}), []string{"at <code dir=\"ltr\">Cloudflare</code>", `href="https://dash.cloudflare.com/"`, "DNS only", "Target", "!evil"}},
		{"a provider that sets it up itself", record("api.example.com", func(r *v1alpha3.DomainRecord) {
			r.Status.DNSProvider = &v1alpha3.DNSProviderStatus{Name: "GoDaddy"}
			r.Status.DomainConnect = &v1alpha3.DomainConnectStatus{URL: "https://dcc.godaddy.com/manage?a=b&sig=c%2Fd"}
		}), []string{"can create these records for you", `href="https://dcc.godaddy.com/manage?a=b&amp;sig=c%2Fd" target="_blank"`, "Set up automatically"}},
		{"a set-up that leads nowhere good", record("api.example.com", func(r *v1alpha3.DomainRecord) {
			r.Status.DomainConnect = &v1alpha3.DomainConnectStatus{URL: "javascript:alert(1)"}
		}), []string{"!Set up automatically", "!javascript:"}},
		{"a provider that nobody knows", record("api.example.com", func(r *v1alpha3.DomainRecord) {
			r.Status.DNSProvider = &v1alpha3.DNSProviderStatus{Name: "Evil", ControlPanel: "https://evil.example/"}
		}), []string{"Log in where you manage the DNS of", "!vil"}},
	} {
		t.Run(c.is, func(t *testing.T) {
			s, _ := newSite(t, Options{}, c.r)
			w := get(s, "/"+linkTo(t, c.r))
			if w.Code != http.StatusOK {
				t.Fatalf("answered with %d: %s", w.Code, w.Body)
			}
			wants(t, c.is, w.Body.String(), c.texts...)
		})
	}
}

func TestALinkThatOpensNothing(t *testing.T) {
	r := record("api.example.com")
	s, m := newSite(t, Options{}, r)
	good := linkTo(t, r)
	expired := signed(t, Link{Name: r.Name, UID: testUID, Expires: testNow.Add(-time.Second)})
	other := signed(t, Link{Name: r.Name, UID: "9e1f8c3a-0b6d-4c1e-9a70-0123456789ab", Expires: testNow.Add(time.Hour)})
	gone := signed(t, Link{Name: "gone.example.com", UID: testUID, Expires: testNow.Add(time.Hour)})
	for _, c := range []struct {
		is, path string
		code     int
		text     string
		reads    int // of records
	}{
		{"a forged one", "/" + good[:len(good)-4] + "AAAA", 403, "This link is not valid", 0},
		{"a word", "/hello", 403, "This link is not valid", 0},
		{"an expired one", "/" + expired, 410, "This link has expired", 0},
		{"of a record that was replaced", "/" + other, 404, "This page does not exist any more", 1},
		{"of a record that was deleted", "/" + gone, 404, "This page does not exist any more", 1},
		{"an icon", "/favicon.ico", 204, "", 0},
		{"no token", "/", 404, "Open the link that you were given.", 0},
		{"something below", "/" + good + "/x", 404, "Open the link that you were given.", 0},
		{"much below", "/a/b/c", 404, "Open the link that you were given.", 0},
	} {
		m.reads = nil
		w := get(s, c.path, "Accept-Language", "en")
		if w.Code != c.code || len(m.reads) != c.reads {
			t.Errorf("%s: %d with %d reads, want %d with %d", c.is, w.Code, len(m.reads), c.code, c.reads)
		}
		wants(t, c.is, w.Body.String(), c.text, "!api.example.com", "!gone.example.com", "!<script")
		if got := get(s, c.path, "Accept-Language", "de").Body.String(); c.text != "" && !strings.Contains(got, `<html lang="de"`) {
			t.Errorf("%s: in German it is %s", c.is, got)
		}
	}
	if m.looked() != 0 {
		t.Error("DNS is looked at for links that open nothing")
	}
	// Both that open nothing because of the record say the same, so that neither tells of it.
	a, b := get(s, "/"+other).Body.String(), get(s, "/"+gone).Body.String()
	if strings.ReplaceAll(a, other, "") != strings.ReplaceAll(b, gone, "") {
		t.Errorf("a replaced and a deleted record differ:\n%s\n%s", a, b)
	}
	m.err = errors.New("damaged")
	if w := get(s, "/"+good); w.Code != 503 || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "damaged") {
		t.Errorf("a record that cannot be read: %d %s", w.Code, w.Body)
	}
	r2 := httptest.NewRequest(http.MethodPost, "/"+good, nil)
	w := httptest.NewRecorder()
	if s.ServeHTTP(w, r2); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d", w.Code)
	}
}

func TestAnOldStateIsToldSo(t *testing.T) {
	r := record("api.example.com")
	s, m := newSite(t, Options{}, r)
	m.old = true
	wants(t, "the page", get(s, "/"+linkTo(t, r)).Body.String(), "at present it cannot be confirmed")
}

func TestTheLetterOfAnApex(t *testing.T) {
	r := record("example.com")
	s, _ := newSite(t, Options{}, r)
	page := get(s, "/"+linkTo(t, r)).Body.String()
	_, letter, _ := strings.Cut(page, "<textarea")
	letter, _, _ = strings.Cut(letter, "</textarea>")
	wants(t, "the letter", letter, "Name: @ (in the zone example.com)", "Choose the type ALIAS there", "A 203.0.113.10, AAAA 2001:db8::10")
}

// Whatever stands in DNS, labels or a status, it is text on the page.
func TestNothingForeignIsMarkup(t *testing.T) {
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(2)>'{{.}}` + "\u202e\u2066\x00"
	r := record("api.example.com", configured(delegation))
	r.Status.DNSProvider = &v1alpha3.DNSProviderStatus{Name: hostile, ControlPanel: "javascript:alert(3)"}
	r.Status.Conditions = []metav1.Condition{{Type: v1alpha3.ConditionTLSReady, Status: metav1.ConditionFalse, Reason: v1alpha3.ReasonCAAForbidden, Message: strings.Repeat(hostile+" ", 100)}}
	for i := range r.Status.DNSRecords {
		d := &r.Status.DNSRecords[i]
		d.Observed = []string{hostile, hostile}
		d.Problem = &v1alpha3.DNSProblem{Reason: hostile, Message: hostile}
		d.Name, d.Value, d.Type, d.Zone, d.Host = hostile+d.Name, hostile+d.Value, hostile, hostile, hostile
		d.LastTransitionTime = &metav1.Time{Time: testNow}
	}
	r.Status.DNSRecords[0].Configured = false
	for _, reason := range []string{hostile, ownership.ProblemMisspelt, ownership.ProblemZoneLame, ownership.ProblemNotFound} {
		r.Status.DNSRecords[0].Problem.Reason = reason
		for _, lang := range []string{"en", "de", "es"} {
			s, _ := newSite(t, Options{}, r)
			page := get(s, "/"+linkTo(t, r)+"?lang="+lang).Body.String()
			wants(t, reason+" in "+lang, page, "!<script>", "!<img", "!onerror=alert(2)>'", "!\u202e", "!\u2066", "!\x00", "!href=\"javascript", `<html lang="`+lang)
		}
	}
}

func TestTheSiteIsTheOperators(t *testing.T) {
	r := record("api.example.com")
	logo := []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`)
	s, _ := newSite(t, Options{
		URL: "https://app.example.net/setup/", Logo: logo, Colours: Colours{ColourAccent: "#0a7c4a"}, Support: "https://www.example.net/help",
		Languages: []string{"de", "en"}, FrameAncestors: []string{"https://app.example.net", "self"},
		Messages: []byte(`{"de": {"title": "Eigene Domain"}}`),
	}, r)
	w := get(s, "/setup/"+linkTo(t, r))
	page := w.Body.String()
	wants(t, "the page", page, "Eigene Domain", `<html lang="de"`, `href="/setup/assets/`, `src="/setup/assets/`, `href="https://www.example.net/help"`, "Support kontaktieren", `data-live="/setup/`, "https://app.example.net/setup/", "lang=en")
	if csp := w.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors https://app.example.net 'self'") || w.Header().Get("X-Frame-Options") != "" {
		t.Errorf("it may be embedded by: %s", csp)
	}
	for _, name := range []string{s.brand, s.logoName} {
		a := get(s, "/setup/assets/"+name)
		if a.Code != 200 || !strings.Contains(a.Header().Get("Cache-Control"), "immutable") || a.Header().Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %d, %v", name, a.Code, a.Header())
		}
		if name == s.brand && !strings.Contains(a.Body.String(), "--accent: #0a7c4a;") {
			t.Errorf("the style sheet is %s", a.Body)
		}
		if name == s.logoName && (a.Header().Get("Content-Type") != "image/svg+xml" || !strings.Contains(a.Header().Get("Content-Security-Policy"), "sandbox")) {
			t.Errorf("an SVG may run: %v", a.Header())
		}
	}
	for _, path := range []string{"/setup/assets/none.css", "/setup/assets/", "/setup/assets/" + s.logoName + "/x"} {
		if a := get(s, path); a.Code != 404 {
			t.Errorf("%s: %d", path, a.Code)
		}
	}
	for path, want := range map[string]bool{"/setup": true, "/setup/x": true, "/setupx": false, "/": false, "/other": false} {
		if s.Serves(path) != want {
			t.Errorf("whether it serves %s: %t", path, !want)
		}
	}
	// An image from elsewhere is allowed from there alone.
	s, _ = newSite(t, Options{LogoURL: "https://cdn.example.net/a/logo.png?x"}, r)
	if csp := get(s, "/"+linkTo(t, r)).Header().Get("Content-Security-Policy"); !strings.Contains(csp, "img-src 'self' https://cdn.example.net;") || !strings.Contains(csp, "frame-ancestors 'none'") {
		t.Errorf("CSP: %s", csp)
	}
}

func TestWrongOptionsAreRefused(t *testing.T) {
	for want, o := range map[string]Options{
		"url: it is missing":     {},
		"title":                  {URL: "https://a.example", Title: "a\nb"},
		"colors: accent \"red\"": {URL: "https://a.example", Colours: Colours{ColourAccent: "red"}},
		"support":                {URL: "https://a.example", Support: "nobody"},
		"languages: language":    {URL: "https://a.example", Languages: []string{"fr"}},
		"messages: reading it":   {URL: "https://a.example", Messages: []byte("x")},
		"frame_ancestors \"*\"":  {URL: "https://a.example", FrameAncestors: []string{"*"}},
		"logo: the file is no":   {URL: "https://a.example", Logo: []byte("x")},
		"logo: \"ftp://x\"":      {URL: "https://a.example", LogoURL: "ftp://x"},
	} {
		if _, err := New(o, Config{}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// The letter holds the records in order, as text that a mail program takes.
func TestTheLetter(t *testing.T) {
	r := record("api.example.com")
	s, _ := newSite(t, Options{}, r)
	page := get(s, "/"+linkTo(t, r)).Body.String()
	_, rest, _ := strings.Cut(page, `href="mailto:?subject=`)
	link, _, ok := strings.Cut(rest, `"`)
	if !ok {
		t.Fatalf("no mail in %s", page)
	}
	subject, body, _ := strings.Cut(strings.ReplaceAll(link, "&amp;", "&"), "&body=")
	subject, err1 := url.PathUnescape(subject)
	body, err2 := url.PathUnescape(body)
	if err1 != nil || err2 != nil || subject != "DNS records for api.example.com" {
		t.Errorf("subject %q, %v, %v", subject, err1, err2)
	}
	delegated, switched := strings.Index(body, "_acme-challenge.api.example.com. 300 IN CNAME"), strings.Index(body, "\r\n   api.example.com. 300 IN CNAME")
	if delegated < 0 || switched < delegated || !strings.Contains(body, "Only once the page below says") || !strings.Contains(body, "https://setup.example.net/") || strings.Contains(strings.ReplaceAll(body, "\r\n", ""), "\n") {
		t.Errorf("the letter is %s", body)
	}
}
