package caddyapoxy

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// The API knows the name servers of the configuration in force.
func TestNameServersAreReserved(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	create := func(host string) *httptest.ResponseRecorder {
		rt, err := running(t).runtime(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		rec := httptest.NewRecorder()
		rt.api.ServeHTTP(rec, httptest.NewRequest("POST", "/apis/core.apoxy.dev/v1alpha3/domainrecords",
			strings.NewReader(`{"spec":{"name":"`+host+`","target":{"ref":{"kind":"Proxy","name":"api"}}}}`)))
		return rec
	}
	if rec := create("ns1.example.net"); rec.Code != http.StatusUnprocessableEntity || !strings.Contains(rec.Body.String(), "name server ns1.example.net") {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if rec := create("ns2.example.net"); rec.Code != http.StatusCreated {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
	if err := load(t, strings.Replace(w.caddyfile(), "nameserver ns1.example.net", "nameserver ns3.example.net", 1)); err != nil {
		t.Fatal(err)
	}
	if rec := create("ns3.example.net"); rec.Code != http.StatusUnprocessableEntity {
		t.Errorf("after a reload: %d %s", rec.Code, rec.Body)
	}
}

// The sites of a Caddyfile, automatic redirects to https and all, and the
// hostnames that they keep for themselves.
func TestReservedHosts(t *testing.T) {
	t.Setenv("SITE", "env.operator.example")
	w := newWorld(t)
	_, port, _ := net.SplitHostPort(freePort(t))
	sites := `
(edge) {
	apoxy {
		gateway default {
			respond hello
		}
	}
}
https:// {
	bind 127.0.0.1
	import edge
}
www.operator.example, *.operator.example, http://{env.SITE} {
	bind 127.0.0.1
	respond operator
}
shop.operator.example {
	bind 127.0.0.1
	import edge
}
*.tenants.example {
	bind 127.0.0.1
	@api path /api/*
	handle @api {
		respond api
	}
	handle {
		import edge
	}
}
admin.tenants.example {
	bind 127.0.0.1
	respond admin
}
`
	config := strings.Replace(w.caddyfile(), "storage file_system", "auto_https disable_certs\n\thttps_port "+port+"\n\tstorage file_system", 1)
	if err := load(t, config+sites); err != nil {
		t.Fatal(err)
	}
	reserved := running(t).reserved.Load()
	for host, want := range map[string]string{
		"www.operator.example":  "www.operator.example",
		"env.operator.example":  "env.operator.example",
		"any.operator.example":  "*.operator.example",
		"*.operator.example":    "*.operator.example",
		"a.b.operator.example":  "", // * is one label
		"operator.example":      "",
		"shop.operator.example": "shop.operator.example", // it serves records, but its hostname is taken
		"any.tenants.example":   "",
		"*.tenants.example":     "",
		"admin.tenants.example": "admin.tenants.example",
		"shop.example.com":      "", // https:// serves whatever has a record
		"*.example.com":         "",
	} {
		by, yes := reserved.by(host)
		if yes != (want != "") || yes && by != "the site "+want {
			t.Errorf("%s is reserved: %v, %q, want %q", host, yes, by, want)
		}
	}
	if by, yes := running(t).held.reserved("any.operator.example"); !yes {
		t.Errorf("the API is told %q, %v", by, yes)
	}
}

func TestSitePatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "*.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", "a.b.example.com", false},
		{"*.*.example.com", "a.b.example.com", true},
		{"api.*.com", "api.example.com", true},
		{"api.*.com", "www.example.com", false},
		{"*", "example.com", false},
		{"shop.example.com", "shop.example.com", true},
		{"shop.example.com", "shop.example.co", false},
	} {
		s := site{host: c.pattern, stars: strings.Count(c.pattern, "*")}
		if got := s.covers(c.host); got != c.want {
			t.Errorf("%s covers %s: %v, want %v", c.pattern, c.host, got, c.want)
		}
	}
}
