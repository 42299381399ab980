package acme

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestZeroSSLGivesCredentialsForAnAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		status int
		ok     bool
	}{
		"credentials":                     {`{"success":true,"eab_kid":"k","eab_hmac_key":"m"}`, 200, true},
		"an error with status 200":        {`{"success":false,"error":{"code":2900,"type":"invalid_email"}}`, 200, false},
		"an error with its own status":    {`{}`, 500, false},
		"nothing that can be read at all": {`<html>`, 200, false},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.FormValue("email") != "ops@example.net" {
					t.Errorf("asked for %q", r.FormValue("email"))
				}
				w.WriteHeader(tt.status)
				io.WriteString(w, tt.answer)
			}))
			defer srv.Close()
			eab, err := requestEAB(context.Background(), srv.Client(), srv.URL, "ops@example.net")
			if (err == nil) != tt.ok || tt.ok && (eab.KeyID != "k" || eab.MACKey != "m") {
				t.Errorf("got %+v, %v", eab, err)
			}
		})
	}
}

func TestOnlyZeroSSLIsAskedForCredentials(t *testing.T) {
	c := NewCA(Authority{Directory: "https://ca.test/dir"}, nil, nil)
	if eab, err := c.binding(context.Background(), ""); eab != nil || err != nil {
		t.Errorf("got %v, %v", eab, err)
	}
	c = NewCA(Authority{Directory: "https://acme.zerossl.com/v2/DV90"}, nil, nil)
	if _, err := c.binding(context.Background(), ""); err == nil {
		t.Error("without an address there is no error")
	}
}
