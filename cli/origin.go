package cli

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// askedForOrigin sends the header Origin only to an endpoint that asks for one:
// with enforce_origin Caddy refuses requests without it, and in any case those
// with one that it has not listed, which on an address of every interface is
// none that a client could know.
type askedForOrigin struct {
	next http.RoundTripper

	mu sync.Mutex
	// origin is what was accepted, empty at first; origins are left to be tried.
	origin  string
	origins []string
}

// maxRefusal bounds what is read of a refusal to see what it is about, in bytes.
const maxRefusal = 4 << 10

func (a *askedForOrigin) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(a.from(r))
	for err == nil && resp.StatusCode == http.StatusForbidden {
		var again *http.Request
		if again = a.retry(r, resp); again == nil {
			break
		}
		resp, err = a.next.RoundTrip(a.from(again))
	}
	return resp, err
}

// from is the request with the Origin that was accepted, or is tried, if any.
func (a *askedForOrigin) from(r *http.Request) *http.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.origin == "" || r.Header.Get("Origin") != "" {
		return r
	}
	r = r.Clone(r.Context())
	r.Header.Set("Origin", a.origin)
	return r
}

// retry returns the request once more if the refusal is about its origin and
// there is another to be tried; nil: the refusal stands, and can be read whole.
func (a *askedForOrigin) retry(r *http.Request, resp *http.Response) *http.Request {
	head, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	bodyGone := r.Body != nil && r.Body != http.NoBody && r.GetBody == nil
	if bodyGone || r.Header.Get("Origin") != "" || !strings.Contains(strings.ToLower(string(head)), "origin") || !a.nextOrigin() {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(head), resp.Body), resp.Body}
		return nil
	}
	resp.Body.Close()
	again := r.Clone(r.Context())
	if r.GetBody != nil { // that of a client's own body never fails
		again.Body, _ = r.GetBody()
	}
	return again
}

func (a *askedForOrigin) nextOrigin() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.origins) == 0 {
		a.origin = ""
		return false
	}
	a.origin, a.origins = a.origins[0], a.origins[1:]
	return true
}

// withUser sends a user and password to one host, and to no other that this one
// may redirect to.
type withUser struct {
	next http.RoundTripper
	host string
	user *url.Userinfo
}

func (w withUser) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == w.host && r.Header.Get("Authorization") == "" {
		r = r.Clone(r.Context())
		password, _ := w.user.Password()
		r.SetBasicAuth(w.user.Username(), password)
	}
	return w.next.RoundTrip(r)
}
