package apiserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func TestSetupLink(t *testing.T) {
	var fails error
	w := newWorld(t, func(c *Config) {
		c.SetupLink = func(_ context.Context, r *v1alpha3.DomainRecord, until time.Time) (string, error) {
			return "https://setup.example.net/" + string(r.UID) + "/" + until.Format(time.RFC3339), fails
		}
	})
	r := w.create("a.example.com")
	path := base + "/a.example.com/setuplink"
	link := func(body string, headers ...string) *v1alpha3.SetupLink {
		t.Helper()
		l := new(v1alpha3.SetupLink)
		w.call("POST", path, body, headers...).want(201).into(l)
		if l.Kind != "SetupLink" || l.APIVersion != "core.apoxy.dev/v1alpha3" || l.Name != "a.example.com" || l.ExpirationSeconds == nil || l.Status.ExpirationTimestamp == nil {
			t.Fatalf("%s answers %+v", body, l)
		}
		want := "https://setup.example.net/" + string(r.UID) + "/" + l.Status.ExpirationTimestamp.UTC().Format(time.RFC3339)
		if l.Status.URL != want {
			t.Errorf("%s: the link is %s, want %s", body, l.Status.URL, want)
		}
		return l
	}
	for body, seconds := range map[string]int64{
		"": 604800, "{}": 604800, " \n": 604800, `{"expirationSeconds":null}`: 604800,
		`{"expirationSeconds":1}`: 1, `{"expirationSeconds":7776000}`: 7776000,
		`{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"SetupLink","expirationSeconds":60}`: 60,
	} {
		l := link(body)
		ends := time.Unix(w.now.Load(), 0).Add(time.Duration(seconds) * time.Second)
		if *l.ExpirationSeconds != seconds || !l.Status.ExpirationTimestamp.Time.Equal(ends) {
			t.Errorf("%s: it lasts %d s, until %s", body, *l.ExpirationSeconds, l.Status.ExpirationTimestamp)
		}
	}
	if l := link("expirationSeconds: 90\n", "Content-Type", typeYAML); *l.ExpirationSeconds != 90 {
		t.Errorf("in YAML: %d", *l.ExpirationSeconds)
	}
	for body, reason := range map[string]metav1.StatusReason{
		`{"expirationSeconds":0}`: metav1.StatusReasonInvalid, `{"expirationSeconds":-1}`: metav1.StatusReasonInvalid,
		`{"expirationSeconds":7776001}`: metav1.StatusReasonInvalid, `{"expirationSeconds":"60"}`: metav1.StatusReasonInvalid,
		`{"expirationSeconds":1.5}`: metav1.StatusReasonInvalid,
	} {
		if got := causes(w.call("POST", path, body).status(422, reason)); got != "expirationSeconds" {
			t.Errorf("%s: the field %q is named", body, got)
		}
	}
	w.call("POST", path, "{").status(400, metav1.StatusReasonBadRequest)
	w.call("POST", path, `{"kind":"DomainRecord"}`).status(400, metav1.StatusReasonBadRequest)
	w.call("POST", path+"?fieldValidation=Strict", `{"expirationSecond":1}`).status(400, metav1.StatusReasonBadRequest)
	if a := w.call("POST", path, `{"expirationSecond":1}`).want(201); !strings.Contains(a.header.Get("Warning"), "expirationSecond") {
		t.Errorf("a misspelt field gives the warning %q", a.header.Get("Warning"))
	}
	w.call("POST", path, "a=b", "Content-Type", "application/x-www-form-urlencoded").status(415, metav1.StatusReasonUnsupportedMediaType)
	w.call("POST", path, strings.Repeat(" ", maxSetupLinkBody+1)).status(413, metav1.StatusReasonRequestEntityTooLarge)
	w.call("GET", path, "").status(405, metav1.StatusReasonMethodNotAllowed)
	w.call("POST", base+"/b/setuplink", "").status(404, metav1.StatusReasonNotFound)

	fails = fmt.Errorf("%w: no site shows them", ErrUnavailable)
	w.call("POST", path, "").status(503, metav1.StatusReasonServiceUnavailable)
	fails = errors.New("broken")
	w.call("POST", path, "").status(500, metav1.StatusReasonInternalError)
	t.Run("is 503 where nothing makes links", func(t *testing.T) {
		w := newWorld(t)
		w.create("a.example.com")
		w.call("POST", path, "").status(503, metav1.StatusReasonServiceUnavailable)
	})
}

func TestSetupLinkIsDeclared(t *testing.T) {
	w := newWorld(t)
	var l metav1.APIResourceList
	w.call("GET", "/apis/core.apoxy.dev/v1alpha3", "").want(200).into(&l)
	declared := false
	for _, r := range l.APIResources {
		declared = declared || r.Name == "domainrecords/setuplink" && r.Kind == "SetupLink" && strings.Join(r.Verbs, ",") == "create"
	}
	if !declared {
		t.Errorf("discovery has %+v", l.APIResources)
	}
	for _, path := range []string{"/openapi/v2", "/openapi/v3/apis/core.apoxy.dev/v1alpha3"} {
		a := w.call("GET", path, "", "Accept", "application/json").want(200)
		for _, want := range []string{base + "/{name}/setuplink", "dev.apoxy.core.v1alpha3.SetupLink", "7776000"} {
			if !strings.Contains(string(a.body), want) {
				t.Errorf("%s lacks %s", path, want)
			}
		}
	}
	var review struct{ Status struct{ Allowed bool } }
	for verb, want := range map[string]bool{"create": true, "get": false} {
		question := accessQuestion(`"resourceAttributes":{"verb":"` + verb + `","group":"core.apoxy.dev","resource":"domainrecords","subresource":"setuplink"}`)
		w.call("POST", accessPath, question).want(201).into(&review)
		if review.Status.Allowed != want {
			t.Errorf("%s is allowed: %t", verb, review.Status.Allowed)
		}
	}
}
