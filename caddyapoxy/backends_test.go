package caddyapoxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
)

// withTargets is a configuration whose site has these targets.
func (w world) withTargets(targets string) string {
	base, _, _ := strings.Cut(w.caddyfile(), "http:// {")
	return base + "http:// {\n\tbind 127.0.0.1\n\tapoxy {\n" + targets + "\n\t}\n}\n"
}

// Each record is served by its own backend, one whose annotation is wrong by none, and
// a backend that is down fails its own record alone.
func TestEachRecordIsServedByItsOwnBackend(t *testing.T) {
	var ports, backends []string
	for _, name := range []string{"one", "two"} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name+" "+r.Host) }))
		defer s.Close()
		backends = append(backends, strings.TrimPrefix(s.URL, "http://"))
		ports = append(ports, "127.0.0.0/8:"+port(t, backends[len(backends)-1]))
	}
	secret := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the operator's insides were reached") }))
	defer secret.Close()
	inside := strings.TrimPrefix(secret.URL, "http://")
	_, insidePort, _ := net.SplitHostPort(inside)
	down := freePort(t)

	w := newWorld(t)
	config := w.withTargets(fmt.Sprintf("\t\tproxy tenants {\n\t\t\tto {apoxy.record.annotations.example.com/backend}\n\t\t\tupstreams %s 127.0.0.0/8:%s localhost\n\t\t\tfail_duration 1m\n\t\t}", strings.Join(ports, " "), port(t, down)))
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	refused := requests[requestLabels{v1alpha3.KindProxy, noBackend}]
	before := valueOf(t, refused)
	set := func(name, backend string) string {
		host := name + ".example.com"
		running(t).held.table.Set(hosts.Make(hosts.Values{Hostname: host, Name: host, Phase: v1alpha3.PhaseActive, Verified: true,
			Annotations: map[string]string{"example.com/backend": backend}, Target: v1alpha3.TargetKey{Kind: v1alpha3.KindProxy, Name: "tenants"}}))
		return host
	}
	for _, c := range []struct{ name, backend, want string }{
		{"one", backends[0], "200 one one.example.com"},
		{"two", backends[1], "200 two two.example.com"},
		{"down", down, "502 "},
		{"one", backends[0], "200 one one.example.com"}, // whoever is down is so alone, passive health checks or not
		{"down", down, notNow},                          // now Caddy's own has noticed
		{"hostile", inside, notNow},
		{"hostile", "localhost:" + insidePort, notNow}, // a listed name, and where it leads is not
		{"hostile", "[::ffff:127.0.0.1]:" + insidePort, notNow},
		{"hostile", "unix/" + w.dir + "/x.sock", notNow},
		{"hostile", "", notNow},
		{"named", "localhost:" + port(t, backends[1]), "200 two named.example.com"},
		{"two", backends[1], "200 two two.example.com"},
	} {
		host := set(c.name, c.backend)
		if got := get(t, w.web, host); got != c.want {
			t.Errorf("%s with backend %q: %q, want %q", host, c.backend, got, c.want)
		}
	}
	if n := valueOf(t, refused) - before; n != 5 {
		t.Errorf("%v requests are counted as without a backend, want 5", n)
	}
	r, err := http.NewRequest(http.MethodGet, "http://"+w.web, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "hostile.example.com"
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.Header.Get("Retry-After") == "" || "503 "+string(body) != notNow {
		t.Errorf("answered Retry-After %q and %q, want one and nothing of the insides", resp.Header.Get("Retry-After"), body)
	}
	if o := running(t).held.targetHealthOf(mustGet(t, "hostile.example.com")); o.Healthy || !o.OfRecord || !strings.Contains(o.Message, `annotation "example.com/backend"`) {
		t.Errorf("the hostile record's target is %+v", o)
	}
	if o := running(t).held.targetHealthOf(mustGet(t, "one.example.com")); !o.Healthy {
		t.Errorf("its neighbour's is %+v", o)
	}
}

func mustGet(t *testing.T, hostname string) *hosts.Host {
	t.Helper()
	h, ok := running(t).held.table.Get(hostname)
	if !ok {
		t.Fatalf("there is no %s", hostname)
	}
	return h
}

// What would let a record pass the list by, or has no meaning, is refused at load, and
// the error says what to write.
func TestAProxyThatCannotBeGuardedIsRefused(t *testing.T) {
	const to = "to {apoxy.record.annotations.b}\n"
	for _, c := range []struct{ is, targets, says string }{
		{"no entry that can be meant", "proxy x {\n" + to + "upstreams *\n}", `allowed_upstreams: "*": expected a network`},
		{"loopback without a port", "proxy x {\n" + to + "upstreams 127.0.0.0/8\n}", "expected a port"},
		{"no placeholder", "proxy x {\nto 10.0.0.5:80\nupstreams 10.0.0.0/8\n}", `upstream "10.0.0.5:80": expected a placeholder`},
		{"something fixed beside it", "proxy x {\n" + to + "to 10.0.0.5:80\nupstreams 10.0.0.0/8\n}", "proxy of its own"},
		{"no upstream at all", "proxy x {\nupstreams 10.0.0.0/8\n}", "expected upstreams"},
		{"a scheme", "proxy x {\nto https://{apoxy.record.annotations.b}\nupstreams 10.0.0.0/8\n}", "expected no scheme"},
		{"active health checks", "proxy x {\n" + to + "upstreams 10.0.0.0/8\nhealth_uri /\n}", "fail_duration"},
		{"dynamic upstreams beside it", "proxy x {\n" + to + "upstreams 10.0.0.0/8\ndynamic a x.internal 80\n}", "dynamic_upstreams: expected none"},
		{"dynamic upstreams without a list", "proxy x {\ndynamic a {apoxy.record.annotations.b} 80\n}", "add allowed_upstreams"},
		{"srv without a list", "proxy x {\ndynamic srv {apoxy.record.labels.b}\n}", "add allowed_upstreams"},
		{"another transport", "proxy x {\n" + to + "upstreams 10.0.0.0/8\ntransport fastcgi\n}", "transport fastcgi: expected http"},
		{"a forward proxy", "proxy x {\n" + to + "upstreams 10.0.0.0/8\ntransport http {\nnetwork_proxy url http://10.0.0.1:3128\n}\n}", "forward proxy"},
		{"HTTP/3", "proxy x {\n" + to + "upstreams 10.0.0.0/8\ntransport http {\ntls\nversions 3\n}\n}", "version 3"},
		{"a gateway around the list", "gateway x {\nroute {\nreverse_proxy {apoxy.record.annotations.b}\n}\n}", "in place of the gateway"},
		{"a gateway with dynamic upstreams", "gateway x {\nreverse_proxy {\ndynamic a {apoxy.record.labels.b} 80\n}\n}", "in place of the gateway"},
	} {
		t.Run(c.is, func(t *testing.T) {
			err := load(t, newWorld(t).withTargets(c.targets))
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("loading gives %v, want an error with %q", err, c.says)
			}
		})
	}
}

// In JSON, too: nothing of the Caddyfile's parser is needed to refuse.
func TestAProxyOfRecordsWithoutAListIsRefusedInJSON(t *testing.T) {
	config, err := adapted(newWorld(t).withTargets("proxy x {\nto {apoxy.record.annotations.b}\nupstreams 10.0.0.0/8\n}"))
	if err != nil {
		t.Fatal(err)
	}
	const list = `"allowed_upstreams":["10.0.0.0/8"],`
	for now, says := range map[string]string{
		"":                            "upstreams has placeholders of records",
		`"allowed_upstreams":"10/8",`: "allowed_upstreams: expected a list",
		`"allowed_upstreams":[],`:     "allowed_upstreams: expected networks",
		`"allowed_upstreams":[""],`:   "allowed_upstreams",
		`"allowed_upstreams":["{env.NONE_SUCH}"],`: "allowed_upstreams",
	} {
		if !strings.Contains(string(config), list) {
			t.Fatalf("there is no list in %s", config)
		}
		if err := loadJSON(t, strings.Replace(string(config), list, now, 1)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("with %q loading gives %v, want an error with %q", now, err, says)
		}
	}
}

// A site that only redirects needs no target.
func TestASiteWithoutTargetsServesRedirects(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.withTargets("")); err != nil {
		t.Fatal(err)
	}
	if o := running(t).held.targetHealth(v1alpha3.TargetKey{Kind: v1alpha3.KindRedirect}); !o.Found || !o.Healthy {
		t.Errorf("a redirect is %+v", o)
	}
	www, code := "www.example.com", int32(301)
	running(t).held.table.Set(hosts.Make(hosts.Values{Hostname: "example.com", Name: "example.com", Phase: v1alpha3.PhaseActive, Verified: true,
		Target: v1alpha3.TargetKey{Kind: v1alpha3.KindRedirect}, Redirect: &v1alpha3.TargetRedirect{Hostname: &www, StatusCode: &code}}))
	if got := get(t, w.web, "example.com"); !strings.HasPrefix(got, "301 ") {
		t.Errorf("answered %q", got)
	}
}
