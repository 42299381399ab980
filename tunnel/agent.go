package tunnel

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// agentProduct begins the User-Agent of a handshake; the version follows.
const agentProduct = "apoxy-tunnel/"

// Agent connects one tunnel to one backend. Its fields are set before Run.
type Agent struct {
	// Name is the tunnel's name in the edge's configuration.
	Name string
	// Edge is the URL of any HTTPS site of the edge that has the tunnel, such as
	// https://edge.example.net. The agent connects to every address of its host.
	Edge string
	// Token returns the tunnel's secret; it is asked at every dialling, so that a
	// changed token needs no restart.
	Token func() (string, error)
	// To is the backend's URL: http, https, or h2c for HTTP/2 without TLS.
	To string
	// Handler serves in place of To, in this process. Upgrades are not offered
	// to it.
	Handler http.Handler

	// HealthURI is a path that the backend answers with a status below 400 while
	// it is well. Default: the backend is well while it takes connections.
	HealthURI string
	// Connections is how many connections go to each address of the edge.
	// Default: 2, so that one lost TCP segment does not stop everything.
	Connections int
	// TLS is how the edge is spoken to: its CAs, and a client certificate where
	// the edge asks for one. Default: the system's CAs.
	TLS *tls.Config
	// OriginTLS is how an https backend is spoken to. Default: the system's CAs.
	OriginTLS *tls.Config
	// Proxy finds the HTTP proxy that leads to the edge. Default:
	// http.ProxyFromEnvironment, which goes by HTTPS_PROXY and NO_PROXY.
	Proxy func(*http.Request) (*url.URL, error)
	// Resolve finds the addresses of the edge's host. Default: the system's
	// resolver.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)

	// Hostname is how the agent is called in the edge's messages.
	Hostname string
	// Version is the agent's, as the edge tells it.
	Version string
	// Logger is where the agent says what happens. Default: nowhere.
	Logger *slog.Logger
	// Timing is how soon the agent acts.
	Timing Timing

	timing  Timing
	edge    *url.URL
	id      string
	logger  *slog.Logger
	origin  *origin
	server  *http.Server
	conns   *listener
	state   *state
	leaving *atomic.Bool
	dialled *atomic.Int64 // connections that are up
}

// prepare checks the fields. Errors name the field, its value and the mend.
func (a *Agent) prepare() error {
	a.timing, a.logger, a.id, a.state = a.Timing.withDefaults(30*time.Second), a.Logger, rand.Text(), newState()
	a.leaving, a.dialled = new(atomic.Bool), new(atomic.Int64)
	if a.logger == nil {
		a.logger = slog.New(slog.DiscardHandler)
	}
	if a.Name == "" {
		return errors.New("the tunnel's name is missing")
	}
	if a.Token == nil {
		return errors.New("the token is missing")
	}
	if a.Connections <= 0 {
		a.Connections = 2
	}
	var err error
	if a.edge, err = url.Parse(a.Edge); err != nil || a.edge.Scheme != "https" || a.edge.Hostname() == "" || a.edge.User != nil || a.edge.Path != "" && a.edge.Path != "/" {
		return fmt.Errorf("the edge is %.100q: expected a URL such as https://edge.example.net, because a token must not travel without TLS", a.Edge)
	}
	handler := a.Handler
	if handler == nil {
		if a.origin, err = newOrigin(a.To, a.HealthURI, a.OriginTLS); err != nil {
			return err
		}
		a.origin.failed = a.state.look
		handler = a.origin
	}
	a.serving(handler)
	return nil
}

// Check tells whether the agent's fields are right, without connecting.
func (a *Agent) Check() error {
	b := Agent{Name: a.Name, Edge: a.Edge, Token: a.Token, To: a.To, Handler: a.Handler, HealthURI: a.HealthURI}
	return b.prepare()
}

// Run keeps the tunnel connected until ctx ends. Then it lets what is under way end,
// for the time that Timing.Drain says, and returns nil. Connections that fail are
// dialled again; an error means that a field is wrong.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.prepare(); err != nil {
		return err
	}
	serving := make(chan error, 1)
	go func() { serving <- a.server.Serve(a.conns) }()
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	dialling, hangUp := context.WithCancel(ctx)
	defer hangUp()
	var work sync.WaitGroup
	if a.origin != nil {
		a.state.origin(a.origin.check(ctx))
		work.Go(func() { a.checkOrigin(working) })
	}
	work.Go(func() { a.connect(dialling) })
	<-ctx.Done()
	a.drain()
	stop()
	work.Wait()
	<-serving
	return nil
}

// drain tells the edge that the agent is about to leave, waits until nothing more
// is sent, says goodbye (GOAWAY, RFC 9113 section 6.8) and waits for what is under
// way.
func (a *Agent) drain() {
	a.leaving.Store(true)
	end, cancel := context.WithTimeout(context.Background(), a.timing.Drain)
	defer cancel()
	a.logger.Info("the agent is leaving", "connections", a.dialled.Load())
	a.state.drain()
	a.state.told(end)
	if err := a.server.Shutdown(end); err != nil {
		a.logger.Warn("requests under way are given up", "after", a.timing.Drain)
		a.server.Close()
	}
	a.conns.closeAll()
}

// checkOrigin looks whether the backend answers, at intervals and when a request
// found that it does not.
func (a *Agent) checkOrigin(ctx context.Context) {
	tick := time.NewTicker(a.timing.Check)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-a.state.doubt:
		}
		a.state.origin(a.origin.check(ctx))
	}
}
