package caddyapoxy

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/apoxy-dev/caddy-apoxy/cli"
)

func TestTheBrakesPathTakesPOSTAlone(t *testing.T) {
	a := new(AdminAPI)
	var release caddy.AdminRoute
	for _, r := range a.Routes() {
		if r.Pattern == cli.BrakeReleasePath {
			release = r
		}
	}
	if release.Handler == nil {
		t.Fatalf("no route for %s", cli.BrakeReleasePath)
	}
	ask := func(method string) (*httptest.ResponseRecorder, error) {
		w := httptest.NewRecorder()
		return w, release.Handler.ServeHTTP(w, httptest.NewRequest(method, cli.BrakeReleasePath, nil))
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete} {
		w, err := ask(method)
		var refused caddy.APIError
		if !errors.As(err, &refused) || refused.HTTPStatus != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %v, %v", method, err, w.Header())
		}
	}
	if w, err := ask(http.MethodPost); err != nil || w.Code != http.StatusServiceUnavailable {
		t.Errorf("without a configuration: %d, %v", w.Code, err)
	}
	if err := load(t, newWorld(t).caddyfile()); err != nil {
		t.Fatal(err)
	}
	if w, err := ask(http.MethodPost); err != nil || w.Code != http.StatusOK || strings.TrimSpace(w.Body.String()) != `{"released":false,"gone":0,"due":0}` {
		t.Errorf("where it does not hold: %d, %v, %s", w.Code, err, w.Body)
	}
}
