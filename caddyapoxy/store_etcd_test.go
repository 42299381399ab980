package caddyapoxy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// What is wrong with the options of etcd is said with the option's name, before
// anything is connected to.
func TestEtcdStoreOptionsAreChecked(t *testing.T) {
	one := []string{"https://10.0.0.1:2379"}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for want, e := range map[string]EtcdStore{
		"endpoints: expected one or more":      {},
		"endpoint \"10.0.0.1:2379\": expected": {Endpoints: []string{"10.0.0.1:2379"}},
		"endpoint \"https://a\": expected":     {Endpoints: []string{"https://a"}},
		"some are of https":                    {Endpoints: []string{"https://a:1", "http://b:1"}},
		"cert and key: one":                    {Endpoints: one, Certificate: "x"},
		"user and password: one":               {Endpoints: one, User: "x"},
		"need endpoints of https":              {Endpoints: []string{"http://a:1"}, CA: "x"},
		"no certificate in PEM":                {Endpoints: one, CA: empty},
		"ca: open":                             {Endpoints: one, CA: empty + "x"},
		"cert " + empty:                        {Endpoints: one, Certificate: empty, PrivateKey: empty},
		"timeout -1ns: expected":               {Endpoints: one, Timeout: -1},
		"{env.NOBODY_SET_THIS}":                {Endpoints: []string{"https://{env.NOBODY_SET_THIS}:1"}},
	} {
		if err := e.Provision(caddy.Context{}); err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "store etcd: ") {
			t.Errorf("%+v: %v, want an error with %q", e, err, want)
		}
	}
}

// Configurations that name one store share one, however they write it.
func TestEtcdStoresOfOnePlaceAreOne(t *testing.T) {
	key := func(e EtcdStore) string {
		t.Helper()
		if err := e.Provision(caddy.Context{}); err != nil {
			t.Fatal(err)
		}
		return e.Key()
	}
	t.Setenv("MEMBER", "http://b:1")
	one := key(EtcdStore{Endpoints: []string{"http://a:1", "http://b:1"}})
	if same := key(EtcdStore{Endpoints: []string{"{env.MEMBER}", "http://a:1", "http://a:1"}, Prefix: "/apoxy/"}); same != one {
		t.Errorf("%q and %q", one, same)
	}
	if other := key(EtcdStore{Endpoints: []string{"http://a:1", "http://b:1"}, Prefix: "/other"}); other == one {
		t.Errorf("another prefix has the same key %q", one)
	}
}
