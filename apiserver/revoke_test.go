package apiserver

import (
	"context"
	"errors"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestRevoke(t *testing.T) {
	var asked []string
	var fails error
	w := newWorld(t, func(c *Config) {
		c.Revoke = func(_ context.Context, hostname, reason string) error {
			asked = append(asked, hostname+" "+reason)
			return fails
		}
	})
	w.create("a.example.com")
	if r := w.call("POST", base+"/a.example.com/revoke?reason=keyCompromise", "").want(200).record(); r.Spec.Name != "a.example.com" {
		t.Errorf("answered with %s", r.Spec.Name)
	}
	w.call("POST", base+"/a.example.com/revoke", "").want(200)
	if fmt.Sprint(asked) != "[a.example.com keyCompromise a.example.com unspecified]" {
		t.Errorf("asked for %v", asked)
	}
	other := "/a.example.com/revoke?reason=keyCompromise&"
	w.call("POST", base+other+"uid=another", "").status(409, metav1.StatusReasonConflict)
	w.call("POST", base+other+"resourceVersion=1000", "").status(409, metav1.StatusReasonConflict)
	if len(asked) != 2 {
		t.Errorf("the certificate of another record was revoked: %v", asked)
	}
	live := w.call("GET", base+"/a.example.com", "").want(200).record()
	w.call("POST", base+other+"uid="+string(live.UID)+"&resourceVersion="+live.ResourceVersion, "").want(200)
	w.call("POST", base+"/b/revoke", "").status(404, metav1.StatusReasonNotFound)
	w.call("GET", base+"/a.example.com/revoke", "").status(405, metav1.StatusReasonMethodNotAllowed)
	for _, c := range []struct {
		name   string
		err    error
		code   int
		reason metav1.StatusReason
	}{
		{"an unknown reason is a bad request", fmt.Errorf("%w: boredom", ErrRevocationReason), 400, metav1.StatusReasonBadRequest},
		{"without a certificate it is a conflict", ErrNoCertificate, 409, metav1.StatusReasonConflict},
		{"the CA's refusal is passed on", errors.New("not yours"), 500, metav1.StatusReasonInternalError},
	} {
		t.Run(c.name, func(t *testing.T) {
			fails = c.err
			w.call("POST", base+"/a.example.com/revoke", "").status(c.code, c.reason)
		})
	}
	t.Run("is 503 where nothing revokes", func(t *testing.T) {
		w := newWorld(t)
		w.create("a.example.com")
		w.call("POST", base+"/a.example.com/revoke", "").status(503, metav1.StatusReasonServiceUnavailable)
	})
}
