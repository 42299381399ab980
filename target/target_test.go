package target

import (
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

type fixed struct {
	name   string
	health Health
}

func (fixed) Serve(http.ResponseWriter, *http.Request, Next) error { return nil }
func (f fixed) Health() Health                                     { return f.health }

var (
	well = Health{Healthy: true}
	ill  = Health{Message: "no upstream answers"}
	api  = Ref{Kind: "Proxy", Name: "api"}
)

func TestRegistryOfATargetDefinedTwice(t *testing.T) {
	for _, c := range []struct {
		name          string
		first, second Health
		want          Health
	}{
		{"both are well", well, well, well},
		{"the second is well", ill, well, well},
		{"the first is well", well, ill, well},
		{"neither is well: the first says why", ill, Health{Message: "other"}, ill},
	} {
		t.Run(c.name, func(t *testing.T) {
			var g Registry
			g.Add(api, fixed{"first", c.first})
			g.Add(api, fixed{"second", c.second})
			if got, ok := g.Health(api); got != c.want || !ok {
				t.Errorf("Health = %+v, %v, want %+v", got, ok, c.want)
			}
		})
	}
}

func TestRegistryNamesWhatThereIsInPlaceOfAMissingTarget(t *testing.T) {
	var g Registry
	if h, ok := g.Health(api); ok || h.Healthy || !strings.Contains(h.Message, "no targets") {
		t.Errorf("Health of nothing = %+v, %v", h, ok)
	}
	for _, name := range strings.Split("a b c d e f g h i j", " ") {
		g.Add(Ref{"Gateway", name}, fixed{name, well})
	}
	h, ok := g.Health(api)
	if ok || !strings.Contains(h.Message, `Gateway "a", Gateway "b"`) || !strings.Contains(h.Message, "and 2 more") {
		t.Errorf("Health of a missing target = %+v, %v", h, ok)
	}
}

// What serves no record is no target of one, whatever else has its name.
func TestRegistryForgetsWhatIsRemoved(t *testing.T) {
	var g Registry
	first, second := fixed{"first", ill}, fixed{"second", well}
	g.Remove(api, first) // of nothing
	g.Add(api, first)
	g.Add(api, second)
	g.Remove(api, second)
	if h, ok := g.Health(api); !ok || h != ill {
		t.Errorf("Health = %+v, %v, want the first's", h, ok)
	}
	g.Remove(api, first)
	if h, ok := g.Health(api); ok || len(g.Snapshot()) != 0 {
		t.Errorf("Health = %+v, %v, want none", h, ok)
	}
}

// A site without targets serves redirects; one that serves no record serves none.
func TestRegistryKnowsWhetherASiteServesRecords(t *testing.T) {
	var g Registry
	if g.Serves() {
		t.Error("a site serves records before there is one")
	}
	g.AddSite()
	g.AddSite()
	g.RemoveSite()
	if !g.Serves() {
		t.Error("no site serves records, and one is left")
	}
	g.RemoveSite()
	if g.Serves() {
		t.Error("a site serves records after the last has gone")
	}
}

func TestRegistryIsFilledByManyAtOnce(t *testing.T) {
	var g Registry
	var work sync.WaitGroup
	for _, name := range strings.Split("a b c d e f g h", " ") {
		work.Go(func() { g.Add(Ref{"Gateway", name}, fixed{name, well}) })
	}
	work.Wait()
	if got := g.Snapshot(); len(got) != 8 || !maps.Equal(got, g.Snapshot()) {
		t.Errorf("snapshot = %v, want all eight", got)
	}
}

func TestProxyWithoutStaticUpstreamsCountsAsHealthy(t *testing.T) {
	if h := (Proxy{new(reverseproxy.Handler)}).Health(); !h.Healthy {
		t.Errorf("Health = %+v", h)
	}
}

// Healthy is said of what something checks; of the rest, that nothing does.
func TestHealthSaysWhetherAnythingChecks(t *testing.T) {
	static := reverseproxy.UpstreamPool{{Dial: "10.0.0.5:8080", Host: new(reverseproxy.Host)}}
	active := &reverseproxy.HealthChecks{Active: &reverseproxy.ActiveHealthChecks{URI: "/healthz"}}
	passive := &reverseproxy.HealthChecks{Passive: &reverseproxy.PassiveHealthChecks{FailDuration: 1}}
	for _, c := range []struct {
		name    string
		target  Target
		checked bool
	}{
		{"a gateway", Gateway{}, false},
		{"a proxy without health checks", Proxy{&reverseproxy.Handler{Upstreams: static}}, false},
		{"a proxy with active ones", Proxy{&reverseproxy.Handler{Upstreams: static, HealthChecks: active}}, true},
		{"a proxy with passive ones", Proxy{&reverseproxy.Handler{Upstreams: static, HealthChecks: passive}}, true},
		{"a proxy whose health checks look at nothing", Proxy{&reverseproxy.Handler{Upstreams: static, HealthChecks: &reverseproxy.HealthChecks{
			Active: new(reverseproxy.ActiveHealthChecks), Passive: new(reverseproxy.PassiveHealthChecks)}}}, false},
		{"a proxy with dynamic upstreams alone", Proxy{&reverseproxy.Handler{HealthChecks: active}}, false},
	} {
		if h := c.target.Health(); !h.Healthy || h.Unchecked == c.checked {
			t.Errorf("%s: Health = %+v, want healthy and checked %v", c.name, h, c.checked)
		}
	}
}
