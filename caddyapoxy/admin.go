package caddyapoxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/cli"
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
	endpoints.Store(ctx.Done(), struct{}{})
	context.AfterFunc(ctx, func() { endpoints.Delete(ctx.Done()) })
	return nil
}

// endpoints has the configurations that listen for the API, on a local endpoint or
// a remote one, by the end of their contexts: an app that a handler asks for is given
// a context of that handler's server, which ends as the configuration's does.
var endpoints sync.Map

// warnOfNoAPI says that a configuration has turned the API off, most likely for
// another reason: `admin off` stands in many recipes.
func (a *App) warnOfNoAPI() {
	if _, ok := endpoints.Load(a.ctx.Done()); !ok {
		a.logger.Warn("the admin endpoint is off (`admin off`), and with it the API and the command line: no record can be created or changed; " +
			"take that line out, or have it listen on a socket, as with `admin unix//run/caddy/admin.sock`")
	}
}

// Routes returns the paths that kubectl and client-go ask for.
func (a *AdminAPI) Routes() []caddy.AdminRoute {
	var routes []caddy.AdminRoute
	for _, pattern := range apiserver.Paths {
		routes = append(routes, caddy.AdminRoute{Pattern: pattern, Handler: caddy.AdminHandlerFunc(a.serve)})
	}
	routes = append(routes, a.webhookRoutes()...)
	routes = append(routes, a.clusterRoutes()...)
	return append(routes,
		caddy.AdminRoute{Pattern: dashboardPath, Handler: caddy.AdminHandlerFunc(a.dashboard)},
		caddy.AdminRoute{Pattern: dashboardPath + "/", Handler: caddy.AdminHandlerFunc(a.dashboard)},
		caddy.AdminRoute{Pattern: cli.BrakeReleasePath, Handler: caddy.AdminHandlerFunc(a.releaseBrake)},
		caddy.AdminRoute{Pattern: verifyPath, Handler: caddy.AdminHandlerFunc(a.verify)},
		caddy.AdminRoute{Pattern: backupPath, Handler: caddy.AdminHandlerFunc(a.backup)})
}

// backup gives what the running store holds.
func (a *AdminAPI) backup(w http.ResponseWriter, r *http.Request) error {
	rt, err := runtimeInForce(r.Context())
	if err != nil {
		return unavailable(w, err.Error())
	}
	return rt.backup(w, r)
}

// verify has the running store looked through.
func (a *AdminAPI) verify(w http.ResponseWriter, r *http.Request) error {
	rt, err := runtimeInForce(r.Context())
	if err != nil {
		return unavailable(w, err.Error())
	}
	return rt.verify(w, r)
}

// serve finds the app anew for every request: after a failed reload the admin
// endpoint belongs to a configuration that never ran.
func (a *AdminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	rt, err := runtimeInForce(r.Context())
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

// runtimeInForce is the runtime of the configuration in force.
func runtimeInForce(ctx context.Context) (*runtime, error) {
	active := caddy.ActiveContext()
	if active.Context == nil {
		return nil, errors.New("the first configuration is not in force yet: Caddy is starting")
	}
	v, err := active.AppIfConfigured("apoxy")
	switch {
	case errors.Is(err, caddy.ErrNotConfigured):
		return nil, errors.New("the running configuration has no apoxy app: add the global option `apoxy { zone … }`")
	case err != nil:
		return nil, fmt.Errorf("the running configuration: %w", err)
	}
	return v.(*App).runtime(ctx)
}

// releaseBrake answers POST at cli.BrakeReleasePath.
func (a *AdminAPI) releaseBrake(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("%s: releasing the fleet brake takes POST", r.Method)}
	}
	rt, err := runtimeInForce(r.Context())
	if err != nil {
		return unavailable(w, err.Error())
	}
	var answer cli.BrakeRelease
	if released := rt.releaseBrake(r.Context()); released != nil {
		answer = cli.BrakeRelease{Released: true, Since: released.Since.UTC().Truncate(time.Second), Gone: released.Gone, Due: released.Due}
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		return fmt.Errorf("answering that the fleet brake is released: %w", err)
	}
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
