package apiserver

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// kept are the Certificates of a test: what it was asked for, and what it answers.
type kept struct {
	asked []string
	fails error
}

func (k *kept) Upload(_ context.Context, r *v1alpha3.DomainRecord, c Certificate) error {
	k.asked = append(k.asked, fmt.Sprintf("put %s %q %q %v %v", r.Spec.Name, c.Chain, c.Key, c.Untrusted, c.DryRun))
	return k.fails
}

func (k *kept) Remove(_ context.Context, r *v1alpha3.DomainRecord, dryRun bool) error {
	k.asked = append(k.asked, fmt.Sprintf("delete %s %v", r.Spec.Name, dryRun))
	return k.fails
}

func TestCertificate(t *testing.T) {
	k := &kept{}
	w := newWorld(t, func(c *Config) { c.Certificates = k })
	w.create("a.example.com")
	const path = base + "/a.example.com/certificate"
	secret := func(typ, crt string) string {
		return fmt.Sprintf(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"x"},"type":%q,"data":{"tls.crt":%q,"tls.key":%q}}`,
			typ, base64.StdEncoding.EncodeToString([]byte(crt)), base64.StdEncoding.EncodeToString([]byte("k")))
	}
	for _, c := range []struct {
		name, method, path, typ, body string
		want                          string
	}{
		{"PEM is chain and key in one", "PUT", path, typePEM, "chain and key", `put a.example.com "chain and key" "chain and key" false false`},
		{"an unknown root", "PUT", path + "?untrusted=true", typePEM, "c", `put a.example.com "c" "c" true false`},
		{"a dry run", "PUT", path + "?dryRun=All", typePEM, "c", `put a.example.com "c" "c" false true`},
		{"a Secret has both apart", "PUT", path, typeJSON, secret(secretType, "c"), `put a.example.com "c" "k" false false`},
		{"a removal", "DELETE", path, "", "", `delete a.example.com false`},
		{"a removal that is none", "DELETE", path + "?dryRun=All", "", "", `delete a.example.com true`},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.asked, k.fails = nil, nil
			if r := w.call(c.method, c.path, c.body, "Content-Type", c.typ).want(200).record(); r.Spec.Name != "a.example.com" {
				t.Errorf("answered with %s", r.Spec.Name)
			}
			if got := strings.Join(k.asked, "; "); got != c.want {
				t.Errorf("asked for %s, want %s", got, c.want)
			}
		})
	}
	for _, c := range []struct {
		name, method, path, typ, body string
		fails                         error
		code                          int
		reason                        metav1.StatusReason
		says                          string
	}{
		{"what is wrong with it is said", "PUT", path, typePEM, "c", &InvalidCertificate{"key", "it is encrypted", "expected a plain one"}, 422, metav1.StatusReasonInvalid, "key: Invalid value: it is encrypted: expected a plain one"},
		{"a Secret of another type", "PUT", path, typeJSON, secret("Opaque", "c"), nil, 422, metav1.StatusReasonInvalid, `"Opaque": expected kubernetes.io/tls`},
		{"another object", "PUT", path, typeJSON, `{"kind":"Pod","apiVersion":"v1"}`, nil, 400, metav1.StatusReasonBadRequest, "expected a Secret"},
		{"no JSON", "PUT", path, typeJSON, "PRIVATE KEY", nil, 400, metav1.StatusReasonBadRequest, "expected one Secret in JSON"},
		{"too much", "PUT", path, typePEM, strings.Repeat("x", maxCertificateBody+1), nil, 413, metav1.StatusReasonRequestEntityTooLarge, "limit is 65536"},
		{"another media type", "PUT", path, "text/plain", "c", nil, 415, metav1.StatusReasonUnsupportedMediaType, typePEM},
		{"no media type", "PUT", path, "", "c", nil, 415, metav1.StatusReasonUnsupportedMediaType, typePEM},
		{"no yes or no", "PUT", path + "?untrusted=perhaps", typePEM, "c", nil, 400, metav1.StatusReasonBadRequest, "expected true or false"},
		{"an unknown dry run", "PUT", path + "?dryRun=some", typePEM, "c", nil, 422, metav1.StatusReasonInvalid, "dryRun"},
		{"no record", "PUT", base + "/b/certificate", typePEM, "c", nil, 404, metav1.StatusReasonNotFound, `"b"`},
		{"nothing to remove", "DELETE", path, "", "", ErrNoUpload, 404, metav1.StatusReasonNotFound, "a.example.com/certificate"},
		{"nowhere to keep it", "PUT", path, typePEM, "c", fmt.Errorf("%w: no issuer", ErrUnavailable), 503, metav1.StatusReasonServiceUnavailable, "no issuer"},
		{"a storage that fails", "PUT", path, typePEM, "c", errors.New("the disk is full"), 500, metav1.StatusReasonInternalError, ""},
		{"another method", "GET", path, "", "", nil, 405, metav1.StatusReasonMethodNotAllowed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			k.fails = c.fails
			if s := w.call(c.method, c.path, c.body, "Content-Type", c.typ).status(c.code, c.reason); !strings.Contains(s.Message, c.says) || strings.Contains(s.Message, "PRIVATE KEY") {
				t.Errorf("says %q, want %q in it", s.Message, c.says)
			}
		})
	}
	t.Run("an HTTP-only record shows none", func(t *testing.T) {
		k.asked = nil
		w.call("PATCH", base+"/a.example.com", `{"spec":{"tls":{"disabled":true}}}`, "Content-Type", "application/merge-patch+json").want(200)
		if s := w.call("PUT", path, "c", "Content-Type", typePEM).status(422, metav1.StatusReasonInvalid); !strings.Contains(s.Message, "spec.tls") || len(k.asked) != 0 {
			t.Errorf("says %q, asked %q", s.Message, k.asked)
		}
	})
	t.Run("is 503 where nothing keeps them", func(t *testing.T) {
		w := newWorld(t)
		w.create("a.example.com")
		w.call("DELETE", path, "").status(http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable)
	})
}
