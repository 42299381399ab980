package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// What clients ask before they show anything: may I, and who am I. kubectl sends
// these questions as protobuf.
func TestClientsAskWhatTheyMay(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	ask := func(t *testing.T, args ...string) (string, error) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := p.kubectl(ctx, "", append([]string{"auth"}, args...)...)
		return strings.TrimSpace(out), err
	}
	for _, c := range []struct {
		is     string
		args   []string
		answer string
	}{
		{"records are listed", []string{"can-i", "list", "domainrecords"}, "yes"},
		{"records are watched, by their short name", []string{"can-i", "watch", "dr"}, "yes"},
		{"a record is deleted by its name", []string{"can-i", "delete", "dr/api.example.com"}, "yes"},
		{"everything is done with records", []string{"can-i", "*", "domainrecords"}, "yes"},
		{"a status is patched", []string{"can-i", "patch", "domainrecords", "--subresource=status"}, "yes"},
		{"the version is read", []string{"can-i", "get", "/version"}, "yes"},
		{"pods are not there", []string{"can-i", "list", "pods"}, "no"},
		{"nor is everything", []string{"can-i", "*", "*"}, "no"},
		{"nor are Caddy's own paths", []string{"can-i", "get", "/config/"}, "no"},
	} {
		t.Run(c.is, func(t *testing.T) {
			out, err := ask(t, c.args...)
			if out != c.answer || (err == nil) != (c.answer == "yes") {
				t.Errorf("kubectl auth %s: %q, %v, want %s", strings.Join(c.args, " "), out, err, c.answer)
			}
		})
	}
	t.Run("all that may be done is listed", func(t *testing.T) {
		out, err := ask(t, "can-i", "--list")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "domainrecords.core.apoxy.dev", "selfsubjectaccessreviews.authorization.k8s.io", "deletecollection", "/openapi/*")
	})
	t.Run("whoami", func(t *testing.T) {
		out, err := ask(t, "whoami")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "Username", "caddy-admin", "system:authenticated")
	})
	t.Run("the groups are discovered", func(t *testing.T) {
		out, err := p.kubectl(t.Context(), "", "api-resources", "-o", "name")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "selfsubjectreviews.authentication.k8s.io", "selfsubjectaccessreviews.authorization.k8s.io", "domainrecords.core.apoxy.dev")
	})
	t.Run("a review is created from a file", func(t *testing.T) {
		out, err := p.kubectl(t.Context(), `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{"verb":"list","group":"core.apoxy.dev","resource":"domainrecords"}}}`,
			"create", "-f", "-", "-o", "jsonpath={.status.allowed}")
		if err != nil {
			t.Fatal(err)
		}
		contains(t, out, "true")
	})
}
