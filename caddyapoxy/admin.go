package caddyapoxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/apiserver"
)

func init() {
	caddy.RegisterModule(AdminAPI{})
}

// AdminAPI serves the Kubernetes-shaped API on Caddy's admin endpoint.
type AdminAPI struct {
	ctx caddy.Context
}

// CaddyModule returns the Caddy module information.
func (AdminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.apoxy", New: func() caddy.Module { return new(AdminAPI) }}
}

// Provision remembers the context, whose end ends open watches: clients resume
// them on the next configuration's endpoint.
func (a *AdminAPI) Provision(ctx caddy.Context) error {
	a.ctx = ctx
	return nil
}

// Routes returns the paths that kubectl and client-go ask for.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	var routes []caddy.AdminRoute
	for _, pattern := range apiserver.Paths {
		routes = append(routes, caddy.AdminRoute{Pattern: pattern, Handler: caddy.AdminHandlerFunc(a.serve)})
	}
	return append(routes, caddy.AdminRoute{Pattern: verifyPath, Handler: caddy.AdminHandlerFunc(a.verify)})
}

// verify has the running store looked through.
func (a *AdminAPI) verify(w http.ResponseWriter, r *http.Request) error {
	rt, err := a.running(r.Context())
	if err != nil {
		return unavailable(w, err.Error())
	}
	return rt.verify(w, r)
}

// running finds the app anew for every request: after a failed reload the admin
// endpoint belongs to a configuration that never ran.
func (a *AdminAPI) running(ctx context.Context) (*runtime, error) {
	active := caddy.ActiveContext()
	if active.Context == nil {
		return nil, errors.New("Caddy is starting: its first configuration is not in force yet")
	}
	v, err := active.AppIfConfigured("apoxy")
	if err != nil {
		return nil, errors.New("the running configuration has no apoxy app: add the global option `apoxy { zone … }`")
	}
	return v.(*App).runtime(ctx)
}

// serve answers a call of the API.
func (a *AdminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	rt, err := a.running(r.Context())
	if err != nil {
		return unavailable(w, err.Error())
	}
	if r.URL.Query().Has("watch") {
		ctx, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(a.ctx, cancel)()
		r = r.WithContext(ctx)
	}
	rt.api.ServeHTTP(w, r)
	return nil
}

// unavailable answers as a Kubernetes API does that cannot answer now.
func unavailable(w http.ResponseWriter, why string) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Retry-After", "1")
	w.WriteHeader(http.StatusServiceUnavailable)
	status := apierrors.NewServiceUnavailable(why).Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if err := json.NewEncoder(w).Encode(status); err != nil {
		return fmt.Errorf("answering that the API is unavailable: %w", err)
	}
	return nil
}

// Interface guards
var (
	_ caddy.AdminRouter = (*AdminAPI)(nil)
	_ caddy.Provisioner = (*AdminAPI)(nil)
)
