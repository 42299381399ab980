package tunnel

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// origin forwards what comes out of the tunnel to the backend. The host of a
// request stays the customer's, as with Caddy's reverse_proxy.
type origin struct {
	to        *url.URL
	health    string
	transport *http.Transport
	http1     *http.Transport // for upgrades
	failed    func()          // the backend did not answer
}

// newOrigin returns what forwards to the backend at a URL.
func newOrigin(to, health string, conf *tls.Config) (*origin, error) {
	u, err := url.Parse(to)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("the backend is %.100q: expected a URL without a path, such as http://127.0.0.1:3000", to)
	}
	if health != "" && !strings.HasPrefix(health, "/") {
		return nil, fmt.Errorf("the health URI is %.100q: expected a path, such as /healthz", health)
	}
	protocols := new(http.Protocols)
	scheme := u.Scheme
	switch scheme {
	case "http":
		protocols.SetHTTP1(true)
	case "https":
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
	case "h2c":
		protocols.SetUnencryptedHTTP2(true)
		scheme = "http"
	default:
		return nil, fmt.Errorf("the backend is %.100q: expected a URL that begins with http://, https:// or h2c://", to)
	}
	o := &origin{to: &url.URL{Scheme: scheme, Host: u.Host}, health: health, failed: func() {}}
	o.transport = originTransport(protocols, conf, u.Hostname())
	h1 := new(http.Protocols)
	h1.SetHTTP1(true)
	o.http1 = originTransport(h1, conf, u.Hostname())
	return o, nil
}

func originTransport(p *http.Protocols, conf *tls.Config, name string) *http.Transport {
	d := net.Dialer{Timeout: 5 * time.Second}
	conf = conf.Clone()
	if conf == nil {
		conf = new(tls.Config)
	}
	if conf.ServerName == "" {
		conf.ServerName = name
	}
	return &http.Transport{
		Protocols:              p,
		TLSClientConfig:        conf,
		TLSHandshakeTimeout:    5 * time.Second,
		DisableCompression:     true,
		ExpectContinueTimeout:  time.Second,
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: maxHeaderBytes,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, dialError{err}
			}
			return c, nil
		},
	}
}

// dialError marks that the backend has not seen the request.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// check tells why the backend does not answer, or nil.
func (o *origin) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if o.health == "" {
		host := o.to.Host
		if o.to.Port() == "" {
			host = net.JoinHostPort(o.to.Hostname(), map[string]string{"http": "80", "https": "443"}[o.to.Scheme])
		}
		c, err := o.transport.DialContext(ctx, "tcp", host)
		if err != nil {
			return err
		}
		return c.Close()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.to.String()+o.health, nil)
	if err != nil {
		return err
	}
	res, err := o.transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode >= 400 {
		return fmt.Errorf("%s answers %d", o.health, res.StatusCode)
	}
	return nil
}
