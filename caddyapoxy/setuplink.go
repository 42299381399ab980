package caddyapoxy

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/setup"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// setupSite is where a configuration has set-up pages: at one URL, or links could not
// tell to which they lead.
type setupSite struct {
	mu  sync.Mutex
	url *url.URL
}

// add takes a site's URL in.
func (s *setupSite) add(u *url.URL) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.url != nil && s.url.String() != u.String() {
		return fmt.Errorf("url %s: another apoxy_setup has %s: expected the same of all, because links lead to one", u, s.url)
	}
	s.url = u
	return nil
}

// get is nil where there is none.
func (s *setupSite) get() *url.URL {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.url
}

// setupLink makes a link to the set-up page of a record.
func (rt *runtime) setupLink(ctx context.Context, r *v1alpha3.DomainRecord, until time.Time) (string, error) {
	var base *url.URL
	if a := rt.apps.Current(); a != nil {
		base = a.setup.get()
	}
	if base == nil {
		return "", fmt.Errorf("%w: no site shows set-up pages: add `apoxy_setup { url https://setup.example.net }` to one", apiserver.ErrUnavailable)
	}
	key, err := rt.setupKeys.ForSigning(ctx)
	if err != nil {
		return "", err
	}
	token, err := setup.Sign(key, setup.Link{Name: r.Name, UID: string(r.UID), Expires: until})
	if err != nil {
		return "", err
	}
	return setup.LinkURL(base, token), nil
}

// setupRecords is what set-up pages are made of.
type setupRecords struct{ app *App }

// setupPatience is how long the engine is waited for before a page is made of what this
// node has.
const setupPatience = time.Second

// Key returns the key that links are checked with.
func (s setupRecords) Key(ctx context.Context) ([]byte, error) {
	rt, err := s.app.runtime(ctx)
	if err != nil {
		return nil, err
	}
	ctx, _ = store.AllowStale(ctx, setupPatience)
	return rt.setupKeys.ForChecking(ctx)
}

// Record implements setup.Records.
func (s setupRecords) Record(ctx context.Context, name string) (*v1alpha3.DomainRecord, bool, error) {
	rt, err := s.app.runtime(ctx)
	if err != nil {
		return nil, false, err
	}
	ctx, stale := store.AllowStale(ctx, setupPatience)
	kv, _, err := inForce{rt.store, rt.table, &rt.since}.Get(ctx, hosts.Prefix+name)
	if err != nil {
		return nil, false, err
	}
	r := new(v1alpha3.DomainRecord)
	if err := json.Unmarshal(kv.Value, r); err != nil {
		return nil, false, fmt.Errorf("decoding record %s: %w", name, err)
	}
	r.ResourceVersion = strconv.FormatInt(kv.Revision, 10)
	return r, stale.Cause() != nil, nil
}

// Changed implements setup.Records.
func (s setupRecords) Changed(ctx context.Context, hostname string, revision int64) (int64, error) {
	rt, err := s.app.runtime(ctx)
	if err != nil {
		return 0, err
	}
	now := func(h *hosts.Host) int64 {
		if h == nil {
			return 0
		}
		return h.Revision
	}
	h, err := rt.table.Wait(ctx, hostname, func(h *hosts.Host) bool { return now(h) != revision })
	return now(h), err
}

// Look implements setup.Records.
func (s setupRecords) Look(r *http.Request, hostname string) {
	if rt := s.app.rt.Load(); rt != nil {
		rt.hintRequest(r, hostname)
	}
}

// Addresses implements setup.Records.
func (s setupRecords) Addresses() []netip.Addr {
	rt := s.app.rt.Load()
	if rt == nil {
		return nil
	}
	return rt.edgeZone(s.app).EdgeAddresses
}

// Interface guards
var _ setup.Records = setupRecords{}
