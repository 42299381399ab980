package tunnel

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

const (
	mostAddresses = 32
	resolveEvery  = time.Minute
	dialTimeout   = 10 * time.Second
)

// connect keeps connections to every address of the edge's host, or to its name
// where a proxy leads there, until ctx ends.
func (a *Agent) connect(ctx context.Context) {
	var work sync.WaitGroup
	defer work.Wait()
	kept := map[netip.Addr]context.CancelFunc{}
	for pause := a.timing.RetryFirst; ; {
		now, err := a.addresses(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			a.logger.Warn("the edge's name does not resolve", "edge", a.edge.Hostname(), "error", err)
		default:
			for addr, drop := range kept {
				if _, ok := now[addr]; !ok {
					drop()
					delete(kept, addr)
				}
			}
			for addr := range now {
				if _, ok := kept[addr]; !ok {
					one, drop := context.WithCancel(ctx)
					kept[addr] = drop
					for range a.Connections {
						work.Go(func() { a.keep(one, addr) })
					}
				}
			}
		}
		wait := resolveEvery
		if err != nil && len(kept) == 0 {
			wait, pause = jittered(pause), min(2*pause, a.timing.RetryMost)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// addresses are where the edge is; the zero address stands for what the proxy finds.
func (a *Agent) addresses(ctx context.Context) (map[netip.Addr]struct{}, error) {
	proxy, err := a.proxy()(&http.Request{URL: a.edge})
	if err != nil {
		return nil, fmt.Errorf("finding the proxy: %w", err)
	}
	found := map[netip.Addr]struct{}{}
	if proxy != nil {
		found[netip.Addr{}] = struct{}{}
		return found, nil
	}
	host := a.edge.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		found[addr] = struct{}{}
		return found, nil
	}
	resolve := a.Resolve
	if resolve == nil {
		resolve = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	all, err := resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	for _, addr := range all[:min(len(all), mostAddresses)] {
		found[addr.Unmap()] = struct{}{}
	}
	return found, nil
}

func (a *Agent) proxy() func(*http.Request) (*url.URL, error) {
	if a.Proxy != nil {
		return a.Proxy
	}
	return http.ProxyFromEnvironment
}

// keep keeps one connection to an address.
func (a *Agent) keep(ctx context.Context, addr netip.Addr) {
	pause, last := a.timing.RetryFirst, ""
	for {
		began := time.Now()
		c, err := a.dial(ctx, addr)
		switch {
		case ctx.Err() != nil:
			if c != nil {
				a.serve(c, addr) // it may carry requests by now: drain ends it
			}
			return
		case err == nil:
			last = ""
			a.serve(c, addr)
			if time.Since(began) > a.timing.PingAfter {
				pause = a.timing.RetryFirst
			}
		case err.Error() != last: // what goes on is said once
			last = err.Error()
			a.logger.Warn("connecting has failed; it is tried again", "edge", a.edge.Host, "address", text(addr), "error", err)
		}
		select {
		case <-time.After(jittered(pause)):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, a.timing.RetryMost)
	}
}

func text(addr netip.Addr) string {
	if !addr.IsValid() {
		return "by proxy"
	}
	return addr.String()
}

func (a *Agent) serve(c net.Conn, addr netip.Addr) {
	a.dialled.Add(1)
	defer a.dialled.Add(-1)
	a.logger.Info("connected", "edge", a.edge.Host, "address", text(addr))
	a.conns.serve(c)
	if !a.leaving.Load() {
		a.logger.Info("the connection has ended; another is dialled", "edge", a.edge.Host, "address", text(addr))
	}
}

// jittered is between half of d and d, so that agents that lost an edge together
// do not come back together.
func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }

// dial connects to an address of the edge, or to its name if there is none, and
// returns the connection on which HTTP/2 is to be served.
func (a *Agent) dial(ctx context.Context, addr netip.Addr) (net.Conn, error) {
	token, err := a.Token()
	if err != nil {
		return nil, fmt.Errorf("reading the token: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	var got net.Conn
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { got = i.Conn }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.edge.Scheme+"://"+a.edge.Host+handshakePath(a.Name), nil)
	if err != nil {
		return nil, fmt.Errorf("preparing the handshake: %w", err)
	}
	req.Header = http.Header{
		"Connection":    {"Upgrade"},
		"Upgrade":       {Protocol},
		"Authorization": {"Bearer " + token},
		"User-Agent":    {agentProduct + printable(a.Version, 64)},
		headerAgent:     {printable(a.Hostname, 64)},
		headerAgentID:   {a.id},
	}
	under := new(corked)
	res, err := a.dialler(addr, under).RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("reaching the edge: %w", err)
	}
	if res.StatusCode != http.StatusSwitchingProtocols {
		defer res.Body.Close()
		why, _ := io.ReadAll(io.LimitReader(res.Body, 200))
		return nil, fmt.Errorf("the edge answers %d: %s", res.StatusCode, printable(string(why), 200))
	}
	both, ok := res.Body.(io.ReadWriteCloser)
	if !ok || got == nil {
		res.Body.Close()
		return nil, errors.New("the edge has switched protocols without a connection")
	}
	return dialled{got, both, under}, nil
}

// dialled is a connection past its handshake, of which some bytes may have been
// read with it.
type dialled struct {
	net.Conn
	body  io.ReadWriteCloser
	under *corked
}

// Write has the TLS records of one write sent together.
func (d dialled) Write(p []byte) (int, error) {
	d.under.cork()
	n, err := d.Conn.Write(p)
	if sent := d.under.uncork(); err == nil {
		err = sent
	}
	return n, err
}

func (d dialled) Read(p []byte) (int, error) { return d.body.Read(p) }
func (d dialled) Close() error               { return d.body.Close() }

// dialler is a transport for one handshake, over a connection that it puts into
// under.
func (a *Agent) dialler(addr netip.Addr, under *corked) *http.Transport {
	conf := a.TLS.Clone()
	if conf == nil {
		conf = new(tls.Config)
	}
	conf.NextProtos = []string{"http/1.1"}
	http1 := new(http.Protocols)
	http1.SetHTTP1(true)
	d := net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	edge := a.edge.Hostname()
	return &http.Transport{
		Proxy:               a.proxy(),
		Protocols:           http1,
		TLSClientConfig:     conf,
		TLSHandshakeTimeout: dialTimeout,
		DisableKeepAlives:   true, // a refused handshake leaves no connection behind
		DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(to)
			if err == nil && addr.IsValid() && host == edge {
				to = net.JoinHostPort(addr.String(), port)
			}
			c, err := d.DialContext(ctx, network, to)
			if err != nil {
				return nil, err
			}
			under.Conn = c
			return under, nil
		},
	}
}
