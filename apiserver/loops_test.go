package apiserver

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// redirecting is a record for a hostname that redirects, by the members of redirect.
func redirecting(host, redirect string) string {
	return fmt.Sprintf(`{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","spec":{"name":%q,"tls":{},"target":{"redirect":{%s}}}}`, host, redirect)
}

func toHost(host string) string { return fmt.Sprintf(`"hostname":%q`, host) }

// redirect creates a record that leads to another hostname.
func (w *world) redirect(from, to string) *answer {
	w.t.Helper()
	return w.call("POST", base, redirecting(from, toHost(to)))
}

// refusedAsLoop holds that a write is refused and names the way round.
func (a *answer) refusedAsLoop(way string) {
	a.t.Helper()
	st := a.status(422, metav1.StatusReasonInvalid)
	if f := causes(st); f != "spec.target.redirect.hostname" || !strings.Contains(st.Message, way) {
		a.t.Errorf("refused for %s: %s, want the loop %s named", f, st.Message, way)
	}
}

func TestARedirectIsStoredAsItCame(t *testing.T) {
	w := newWorld(t)
	r := w.call("POST", base, redirecting("example.com",
		`"scheme":"https","hostname":"WWW.Bücher.example.","port":443,"statusCode":301,"path":{"type":"ReplacePrefixMatch","replacePrefixMatch":"/"}`)).want(201).record()
	d := r.Spec.Target.Redirect
	if r.Spec.Target.Ref != nil || d == nil || *d.Hostname != "www.xn--bcher-kva.example" || *d.Scheme != "https" || *d.Port != 443 || d.Code() != 301 || *d.Path.ReplacePrefixMatch != "/" {
		t.Fatalf("the target is %+v, redirect %+v", r.Spec.Target, d)
	}
	if row := w.call("GET", base+"/example.com", "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").want(200); !strings.Contains(string(row.body), `"Redirect/https://www.xn--bcher-kva.example:443/*"`) {
		t.Errorf("the table shows %s", row.body)
	}
	// From one kind of target to the other and back, by each kind of patch.
	w.merge("example.com", `{"spec":{"target":{"redirect":null,"ref":{"kind":"Gateway","name":"default"}}}}`).want(200)
	w.merge("example.com", `{"spec":{"target":{"redirect":{`+toHost("www.example.com")+`}}}}`).want(422)
	w.call("PATCH", base+"/example.com", `[{"op":"replace","path":"/spec/target","value":{"redirect":{`+toHost("www.example.com")+`}}}]`, "Content-Type", jsonHeader).want(200)
	if got := w.get("example.com"); got.Spec.Target.Ref != nil || got.Generation != 3 {
		t.Errorf("generation %d, target %+v", got.Generation, got.Spec.Target)
	}
}

// A server-side apply that names a redirect in place of the ref it applied before
// changes the one for the other, and two spellings of one hostname are no conflict.
func TestApplyingARedirect(t *testing.T) {
	w := newWorld(t)
	applied := func(target string) string {
		return `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","spec":{"name":"example.com","target":` + target + `}}`
	}
	w.apply("example.com", applied(`{"ref":{"kind":"Gateway","name":"default"}}`), "fieldManager=alice").want(201)
	r := w.apply("example.com", applied(`{"redirect":{"hostname":"www.bücher.example","path":{"type":"ReplaceFullPath","replaceFullPath":"/"}}}`), "fieldManager=alice").want(200).record()
	if r.Spec.Target.Ref != nil || r.Spec.Target.Redirect == nil || *r.Spec.Target.Redirect.Hostname != "www.xn--bcher-kva.example" {
		t.Errorf("the target is %+v", r.Spec.Target)
	}
	w.apply("example.com", applied(`{"redirect":{"hostname":"WWW.xn--bcher-kva.example"}}`), "fieldManager=bob").want(200)
	w.apply("example.com", applied(`{"redirect":null}`), "fieldManager=alice").status(422, metav1.StatusReasonInvalid)
}

func TestLoopsAmongRecordsAreRefused(t *testing.T) {
	w := newWorld(t)
	w.redirect("a.example.com", "a.example.com").status(422, metav1.StatusReasonInvalid)
	w.redirect("a.example.com", "b.example.com").want(201)
	w.redirect("b.example.com", "c.example.com").want(201)

	// By every verb, dry runs too.
	const way = "c.example.com → a.example.com → b.example.com → c.example.com"
	w.redirect("c.example.com", "a.example.com").refusedAsLoop(way)
	w.call("POST", base+"?dryRun=All", redirecting("c.example.com", toHost("a.example.com"))).refusedAsLoop(way)
	w.apply("c.example.com", redirecting("c.example.com", toHost("a.example.com")), "fieldManager=m").refusedAsLoop(way)
	w.create("c.example.com")
	patch := `{"spec":{"target":{"ref":null,"redirect":{` + toHost("a.example.com") + `}}}}`
	w.merge("c.example.com", patch).refusedAsLoop(way)
	w.call("PATCH", base+"/c.example.com", `[{"op":"replace","path":"/spec/target","value":{"redirect":{`+toHost("a.example.com")+`}}}]`, "Content-Type", jsonHeader).refusedAsLoop(way)
	c := w.get("c.example.com")
	w.call("PUT", base+"/c.example.com", strings.Replace(redirecting("c.example.com", toHost("a.example.com")), `"spec"`, `"metadata":{"name":"c.example.com","resourceVersion":"`+c.ResourceVersion+`"},"spec"`, 1)).refusedAsLoop(way)
	w.call("DELETE", base+"/c.example.com", "").want(200)
	w.apply("c.example.com", strings.Replace(redirecting("c.example.com", toHost("d.example.com")), `"hostname"`, `"port":8443,"hostname"`, 1), "fieldManager=m").want(201)

	// A port of its own leads out of what is known, and so does a record with a ref.
	w.call("POST", base, redirecting("d.example.com", `"port":8443,`+toHost("a.example.com"))).want(201)
	w.create("site.example.com")
	w.redirect("e.example.com", "site.example.com").want(201)
	w.redirect("f.example.com", "elsewhere.example.org").want(201)

	// A loop that came about otherwise is named, and its records stay movable.
	w.rewrite("site.example.com", func(r *v1alpha3.DomainRecord) { r.Spec.Target = w.get("a.example.com").Spec.Target })
	w.rewrite("b.example.com", func(r *v1alpha3.DomainRecord) { r.Spec.Target.Redirect.Hostname = new("a.example.com") })
	w.redirect("g.example.com", "site.example.com").refusedAsLoop("g.example.com → site.example.com → b.example.com → a.example.com → b.example.com")
	w.merge("a.example.com", `{"metadata":{"labels":{"x":"y"}}}`).want(200)
	w.merge("a.example.com", `{"spec":{"target":{"redirect":{`+toHost("elsewhere.example.org")+`}}}}`).want(200)
	w.redirect("g.example.com", "site.example.com").want(201)
}

// What answers for a hostname below a wildcard is the wildcard's record, unless it has
// one of its own.
func TestLoopsThroughWildcardsAreRefused(t *testing.T) {
	w := newWorld(t)
	w.redirect("*.example.com", "www.example.com").refusedAsLoop("*.example.com → *.example.com")
	w.create("www.example.com")
	w.redirect("*.example.com", "www.example.com").want(201)
	w.redirect("example.org", "any.example.com").want(201)
	w.merge("www.example.com", `{"spec":{"target":{"ref":null,"redirect":{`+toHost("example.org")+`}}}}`).
		refusedAsLoop("www.example.com → example.org → *.example.com → www.example.com")
	w.redirect("*.shop.example.com", "shop.example.com").want(201)
	w.redirect("shop.example.com", "a.b.shop.example.com").want(201) // two labels below: nobody's
}

// However long the way, no more records are read for it than a client follows.
func TestLongWaysOfRedirectsAreRefused(t *testing.T) {
	w := newWorld(t)
	name := func(i int) string { return fmt.Sprintf("r%d.example.com", i) }
	for i := range maxRedirects {
		w.redirect(name(i), name(i-1+100*(1-min(i, 1)))).want(201) // r0 leads to r99, which is nobody
	}
	w.redirect(name(maxRedirects), name(maxRedirects-1)).refusedAsLoop("leads through more than 10 records")
	w.redirect("r99.example.com", name(maxRedirects-1)).refusedAsLoop("more than 10 records")
}

// A record that another tenant has not proven keeps nobody from a redirect, and is not
// told of; a verified one is on the way of every visitor.
func TestWhatAnotherTenantHasNotProvenIsNoLoop(t *testing.T) {
	w := newWorld(t)
	owned := func(host, to, owner string) string {
		return strings.Replace(redirecting(host, toHost(to)), `"spec"`, fmt.Sprintf(`"metadata":{"labels":{"core.apoxy.dev/owner":%q}},"spec"`, owner), 1)
	}
	w.call("POST", base, owned("www.example.com", "example.com", "mallory")).want(201)
	w.call("POST", base, owned("example.com", "www.example.com", "alice")).want(201)
	w.verify("www.example.com")
	w.merge("example.com", `{"metadata":{"labels":{"team":"a"}},"spec":{"ttlSeconds":60}}`).want(200) // which has nothing to do with it
	w.merge("example.com", `{"spec":{"target":{"redirect":{"statusCode":301}}}}`).refusedAsLoop("example.com → www.example.com → example.com")
}
