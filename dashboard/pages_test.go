package dashboard

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// nodes are all elements of a page.
func nodes(t testing.TB, text string) (all []*html.Node) {
	t.Helper()
	doc, err := html.Parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode {
			all = append(all, n)
		}
	}
	return all
}

func attr(n *html.Node, key string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val, true
		}
	}
	return "", false
}

// words are the text below a node, its spaces made one.
func words(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data + " ")
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func textOf(t *testing.T, text string) string {
	t.Helper()
	for _, n := range nodes(t, text) {
		if n.Data == "main" {
			return words(n)
		}
	}
	t.Fatal("the page has no main part")
	return ""
}

// filled is a world in which every part of every page has something to show. nasty is put
// wherever a foreign text may stand.
func filled(t *testing.T, nasty string) *world {
	w := newWorld(t)
	w.create("api.example.com", func(r *v1alpha3.DomainRecord) {
		r.Labels = map[string]string{v1alpha3.OwnerLabel: "acme", "tier": "gold"}
		r.Annotations = map[string]string{"note": nasty}
		waiting(r)
		r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, zone, "")
		d := &r.Status.DNSRecords[0]
		d.Observed, d.Problem = []string{"TXT " + nasty}, &v1alpha3.DNSProblem{Reason: "TXTInsteadOfCNAME", Message: "There is " + nasty + ". The customer replaces it."}
		at := metav1.NewTime(time.Unix(1_790_000_000, 0))
		d.LastTransitionTime, d.Host, d.Zone = &at, nasty, nasty
		r.Status.DNSProvider = &v1alpha3.DNSProviderStatus{Name: nasty, ControlPanel: "https://panel.example/" + nasty}
		r.Status.Certificate = &v1alpha3.CertificateStatus{Issuer: nasty, SerialNumber: nasty, NotAfter: &at, Challenge: nasty, Source: nasty}
		r.Status.Conditions = append(r.Status.Conditions, condition(v1alpha3.ConditionTargetReady, metav1.ConditionFalse, v1alpha3.ReasonTargetUnhealthy, "The backend said: "+nasty+". The operator mends it."))
	})
	w.create("well.example.com", served)
	at := time.Unix(1_790_000_000, 0)
	f := w.facts
	f.summary = func() Summary {
		return Summary{Records: 2, Phases: []Count{{"Pending", 1}, {"Active", 1}}, Conditions: []ConditionCount{{"Ready", 1, 1, 0}},
			Reasons: []ReasonCount{{"OwnershipVerified", "OwnershipNotVerified", 1, "customer", "No proof."}, {"TLSReady", "Issuing", 3, "nobody", "It goes on."}}}
	}
	f.issuance = Issuance{Authorities: []Authority{{Name: nasty, Directory: "https://ca.example/" + nasty, Waiting: 1200, InFlight: 3, Held: at, Why: nasty, Done: at}}, Expiries: []int{0, 3, 1}, Later: 2}
	f.series = []Series{{Name: "looks", Unit: "in a minute", Step: time.Minute, Values: []float64{1, 2, 3}}, {Name: nasty, Unit: nasty, Step: time.Minute, Values: []float64{0}}}
	f.nodes = []Node{{Name: nasty, Live: true, Self: true, Version: nasty, Since: at, Looks: 2, Problem: nasty}, {Name: "n2"}}
	f.findings = []Finding{{Level: "ok"}, {Level: "wrong", Check: "delegation", Subject: nasty, Seen: nasty, Expected: nasty, Mend: nasty}, {Level: "note", Check: "clock", Seen: nasty}}
	f.events = []Event{{Time: at, Type: "Created"}, {Time: at.Add(time.Hour), Type: "Phase", From: "Pending", To: "Issuing", Reason: nasty, Message: nasty}}
	f.answers = []NameAnswers{{Servers: []ServerAnswer{{Name: nasty, Address: "192.0.2.1", Answers: []string{"TXT " + nasty}}, {Name: "ns2.test.", Trouble: nasty}}}, {Trouble: nasty}}
	f.place = &Place{Authority: nasty, Ahead: 1234, Due: at, Why: nasty}
	f.chain = []Certificate{{Subject: nasty, Issuer: nasty, Names: []string{nasty}, SerialNumber: nasty, KeyType: nasty, Signature: nasty, SHA256: nasty}, {Subject: "CN=Root"}}
	return w
}

var allPages = []string{"/", "/records", "/records?q=example&phase=Pending", "/records/api.example.com", "/records/api.example.com?servers=1", "/records/well.example.com",
	"/records/api.example.com/delete", "/records/api.example.com/revoke", "/records/none.example.com", "/none", "/records?q=" + hostileQuery, "/records/" + hostileQuery}

var hostileQuery = url.PathEscape(`"><script>alert(1)</script>`)

func TestPagesShowWhatThereIs(t *testing.T) {
	w := filled(t, "nothing nasty")
	for path, wants := range map[string][]string{
		"/": {"customer 1 record", "OwnershipNotVerified No proof.", "1,200", "held until 2026-09-21 14:13 UTC", "4 end within a week", "2 later", "at most 3 on one day", "now 3 in a minute",
			"n2 gone", "wrong delegation: nothing nasty", "1 check is right"},
		"/records": {"api.example.com acme Pending False OwnershipNotVerified customer", "well.example.com Active True nobody", "2 records."},
		"/records/api.example.com": {"The customer must act. The customer replaces it.", "api.example.com. 300 IN CNAME api.example.com.cname.example.net.", "TXT nothing nasty", "DNS provider nothing nasty panel.example/", "In a form nothing nasty Copy in the zone",
			"TXTInsteadOfCNAME", "1,234 before it", "Phase: Pending → Issuing", "tier gold", "note nothing nasty", "CN=Root", "Check now", "since 2026-09-21"},
		"/records/well.example.com":        {"Nothing to do. Nobody needs to do anything: well.example.com is served."},
		"/records/api.example.com/delete":  {"Delete the record of api.example.com?"},
		"/records/well.example.com/revoke": {"keyCompromise: the key was lost or stolen"},
		"/records/none.example.com":        {"not found"},
		"/records?q=gold":                  {"api.example.com", "1 record."},
		"/records?reason=Issuing":          {"No record is found."},
		"/records?condition=Ready=True":    {"Only records of which Ready=True .", "well.example.com", "1 record."},
		"/records?condition=Nice=True":     {"such as TLSReady=False"},
	} {
		got := textOf(t, w.get(path).Text)
		for _, want := range wants {
			if !strings.Contains(got, want) {
				t.Errorf("%s does not say %q:\n%s", path, want, got)
			}
		}
	}
	if got := textOf(t, w.get("/records?q=gold").Text); strings.Contains(got, "well.example.com") {
		t.Error("a search shows what it does not find")
	}
}

// Whatever a stranger has put into a label, an annotation, DNS or a certificate is shown as
// the text that it is, on every page, and changes nothing of how the page reads.
func TestHostileTextsStayTexts(t *testing.T) {
	for name, nasty := range map[string]string{
		"a script":          `<script>alert(1)</script>`,
		"out of attributes": `"><img src=x onerror=alert(1)>' onmouseover='alert(1)`,
		"a link":            `javascript:alert(1)//<a href="javascript:alert(1)">x</a>`,
		"a style":           `</style><style>*{display:none}</style><p style="position:fixed">`,
		"a template":        `{{.}}${alert(1)}`,
		"a comment":         `--><!--<svg/onload=alert(1)>`,
		"directions":        "moc.\u202eelpmaxe\u2066\u200b\u0007",
		"very long":         strings.Repeat("very-long.", 300),
		"not UTF-8":         "\xff\xfe<b>",
	} {
		t.Run(name, func(t *testing.T) {
			w := filled(t, nasty)
			for _, path := range allPages {
				checkHarmless(t, path, w.get(path).Text)
			}
			if shown := textOf(t, w.get("/records/api.example.com").Text); name == "a script" && !strings.Contains(shown, nasty) {
				t.Errorf("%s is not shown:\n%s", nasty, shown)
			}
		})
	}
}

func checkHarmless(t *testing.T, path, text string) {
	t.Helper()
	if strings.ContainsAny(text, "\u202e\u2066\u200b\u0007") {
		t.Errorf("%s holds characters that deceive", path)
	}
	scripts := 0
	for _, n := range nodes(t, text) {
		switch n.Data {
		case "script":
			src, _ := attr(n, "src")
			if scripts++; !strings.Contains(src, "assets/ui.") || n.FirstChild != nil {
				t.Errorf("%s has the script %q", path, src)
			}
		case "style", "img", "iframe", "object", "base", "b", "embed":
			t.Errorf("%s has an element %s", path, n.Data)
		}
		for _, a := range n.Attr {
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" || a.Key == "srcdoc" {
				t.Errorf("%s has the attribute %s=%q", path, a.Key, a.Val)
			}
			if slices.Contains([]string{"href", "src", "action", "formaction", "data-live"}, a.Key) {
				if u, err := url.Parse(a.Val); err != nil || u.Scheme != "" || u.Host != "" || strings.HasPrefix(a.Val, "/") {
					t.Errorf("%s leads elsewhere by %s=%q", path, a.Key, a.Val)
				}
			}
		}
	}
	if scripts != 1 {
		t.Errorf("%s has %d scripts", path, scripts)
	}
}

// Every link of every page leads to a page, wherever the dashboard is mounted; each page
// has the headers that keep others from using it.
func TestLinksLeadToPages(t *testing.T) {
	w := filled(t, "text")
	for i := range 60 {
		w.create(fmt.Sprintf("n%02d.example.com", i), nil)
	}
	seen, left := map[string]bool{}, []string{mount + "/"}
	for len(left) > 0 && len(seen) < 300 {
		at := left[0]
		left = left[1:]
		if seen[at] {
			continue
		}
		seen[at] = true
		answer := w.get(strings.TrimPrefix(at, mount))
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", at, answer.Status)
		}
		if csp := answer.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") || answer.Header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: %v", at, answer.Header)
		}
		if strings.Contains(at, "/assets/") {
			continue
		}
		base, _ := url.Parse(at)
		for _, n := range nodes(t, answer.Text) {
			for _, key := range []string{"href", "src"} {
				if to, ok := attr(n, key); ok && !strings.HasPrefix(to, "#") {
					u, err := base.Parse(to)
					if err != nil || !strings.HasPrefix(u.Path, mount+"/") {
						t.Errorf("%s leads out by %q: %v", at, to, err)
						continue
					}
					left = append(left, u.RequestURI())
				}
			}
		}
	}
	for _, want := range []string{"/", "/records", "/records/n07.example.com", "/records/api.example.com/delete", "/records?after=n48.example.com"} {
		if !seen[mount+want] {
			t.Errorf("no link leads to %s", want)
		}
	}
}

// What a screen reader goes by: one h1, headings in their order, inputs with labels, tables
// with captions and headers, landmarks with names.
func TestPagesAreTold(t *testing.T) {
	w := filled(t, "text")
	for _, path := range allPages {
		level, first := 0, 0
		ids := map[string]bool{}
		for _, n := range nodes(t, w.get(path).Text) {
			if id, ok := attr(n, "id"); ok {
				if ids[id] {
					t.Errorf("%s has the id %s twice", path, id)
				}
				ids[id] = true
			}
			switch n.Data {
			case "h1", "h2", "h3":
				next := int(n.Data[1] - '0')
				if next == 1 {
					first++
				}
				if next > level+1 {
					t.Errorf("%s: a heading %s stands below h%d", path, n.Data, level)
				}
				level = next
			case "input", "select":
				kind, _ := attr(n, "type")
				_, named := attr(n, "aria-label")
				if kind != "hidden" && !named && n.Parent.Data != "label" {
					t.Errorf("%s: an input has no label", path)
				}
			case "table":
				if n.FirstChild.NextSibling.Data != "caption" {
					t.Errorf("%s: a table has no caption", path)
				}
			case "th":
				if _, ok := attr(n, "scope"); !ok {
					t.Errorf("%s: a header has no scope", path)
				}
			case "svg":
				if _, ok := attr(n, "aria-label"); !ok {
					t.Errorf("%s: a plot is not told", path)
				}
			}
		}
		if first != 1 || !ids["content"] || !ids["said"] {
			t.Errorf("%s has %d h1 and the ids %v", path, first, ids)
		}
	}
}

func TestMethods(t *testing.T) {
	writable, readOnly := filled(t, "text"), newWorld(t, func(c *Config) { c.AllowWrites = false })
	readOnly.create("api.example.com", waiting)
	for _, c := range []struct {
		w            *world
		method, path string
		code         int
		allow        string
	}{
		{writable, "POST", "/", 405, "GET, HEAD"},
		{writable, "HEAD", "/records", 200, ""},
		{writable, "DELETE", "/records/api.example.com", 405, "GET, HEAD"},
		{writable, "GET", "/records/api.example.com/check", 405, "POST"},
		{writable, "PUT", "/records/api.example.com/delete", 405, "GET, HEAD, POST"},
		{writable, "GET", "/records/api.example.com/other", 404, ""},
		{writable, "POST", "/live", 405, "GET"},
		{readOnly, "POST", "/records/api.example.com/check", 405, "GET, HEAD"},
		{readOnly, "POST", "/records/api.example.com/delete", 405, "GET, HEAD"},
		{readOnly, "POST", "/records/api.example.com/revoke", 405, "GET, HEAD"},
		{readOnly, "POST", "/records/api.example.com", 405, "GET, HEAD"},
		{readOnly, "POST", "/no/such/page", 405, "GET, HEAD"},
		{readOnly, "GET", "/no/such/page", 404, ""},
		{readOnly, "GET", "/records/api.example.com/delete", 404, ""},
		{readOnly, "GET", "/records/api.example.com", 200, ""},
	} {
		r, err := http.NewRequest(c.method, c.w.http.URL+mount+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.w.do(r); got.StatusCode != c.code || got.Header.Get("Allow") != c.allow {
			t.Errorf("%s %s: %d, Allow %q; want %d, %q", c.method, c.path, got.StatusCode, got.Header.Get("Allow"), c.code, c.allow)
		}
	}
	if text := readOnly.get("/records/api.example.com").Text; strings.Contains(text, "<form method") || strings.Contains(text, "/delete") {
		t.Error("a read-only page offers writes")
	}
}

// A full page of the list and what it loads is sent in less than 100 KiB.
func TestPagesAreLight(t *testing.T) {
	w := newWorld(t)
	for i := range 55 {
		w.create(fmt.Sprintf("a-rather-long-name-of-a-customer-%02d.shop.example.com", i), waiting)
	}
	sum := 0
	page := w.get("/records").Text
	for _, path := range []string{"/records", "/assets/" + assetOf(t, page, "link"), "/assets/" + assetOf(t, page, "script")} {
		r, err := http.NewRequest(http.MethodGet, w.http.URL+mount+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept-Encoding", "gzip")
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.Header.Get("Content-Encoding") != "gzip" {
			t.Errorf("%s: %v, encoding %q", path, err, answer.Header.Get("Content-Encoding"))
		}
		sum += len(body)
	}
	t.Logf("%d bytes", sum)
	if sum > 100<<10 {
		t.Errorf("%d bytes are sent", sum)
	}
}

func assetOf(t *testing.T, text, element string) string {
	t.Helper()
	for _, n := range nodes(t, text) {
		if rel, _ := attr(n, "rel"); n.Data == element && rel != "icon" {
			src, _ := attr(n, "src")
			href, _ := attr(n, "href")
			return strings.TrimPrefix(src+href, "./assets/")
		}
	}
	t.Fatalf("there is no %s", element)
	return ""
}

// A time line begins with the creation, whether anything has happened since or not.
func TestATimeLineBeginsWithTheCreation(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	later := Event{Time: at.Add(time.Hour), Type: "Phase"}
	for _, kept := range [][]Event{nil, {later}, {{Time: at, Type: "Created"}, later}} {
		got := withCreation(kept, at)
		if len(got) == 0 || got[0].Type != "Created" || !got[0].Time.Equal(at) || slices.IndexFunc(got[1:], func(e Event) bool { return e.Type == "Created" }) >= 0 {
			t.Errorf("of %v comes %v", kept, got)
		}
	}
}

// What every name server answers is asked for by a link, of names that the hostname has in
// any case, and shown as it came.
func TestARecordShowsWhatEveryNameServerAnswers(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", func(r *v1alpha3.DomainRecord) {
		r.Status.DNSRecords = v1alpha3.ExpectedDNSRecords(r, zone, "")
	})
	if page := w.get("/records/a.example.com"); w.facts.asked != nil || !strings.Contains(page.Text, `records/a.example.com?servers=1#dns"`) {
		t.Errorf("without being asked for: %q", w.facts.asked)
	}
	w.facts.answers = []NameAnswers{
		{Servers: []ServerAnswer{{Name: "ns1.test.", Address: "192.0.2.1", Answers: []string{"CNAME b.test."}}, {Name: "ns2.test.", Address: "192.0.2.2"}, {Name: "ns3.test.", Address: "192.0.2.3", Trouble: "timeout"}}},
		{Trouble: "nobody knows"},
	}
	text := textOf(t, w.get("/records/a.example.com?servers=1").Text)
	names := []string{"a.example.com.", "_acme-challenge.a.example.com.", "_apoxy-challenge.a.example.com."}
	if got, want := strings.Join(w.facts.asked, " "), strings.Join(names, " "); got != want {
		t.Errorf("asked about %q, want %q", got, want)
	}
	for _, want := range []string{"What every name server answers about " + names[0], "nobody knows", "ns1.test. 192.0.2.1 CNAME b.test.", "ns2.test. 192.0.2.2 nothing", "ns3.test. 192.0.2.3 no answer timeout", "nobody knows", "Ask every name server again"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
}

// What a client has written into the status is asked of nobody.
func TestNamesThatAreNoHostnamesOwnAreNotAskedAbout(t *testing.T) {
	all := []dnsRecord{{DNSRecord: v1alpha3.DNSRecord{Name: "victim.example.org."}}, {DNSRecord: v1alpha3.DNSRecord{Name: "*.example.com."}}, {DNSRecord: v1alpha3.DNSRecord{Name: "_acme-challenge.example.com."}}}
	names, of := asked("*.example.com", all)
	if !slices.Equal(names, []string{"*.example.com.", "_acme-challenge.example.com."}) || len(of) != 2 || of[0] != &all[1] {
		t.Errorf("asked about %q", names)
	}
}
