package controller_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/resolver"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// The model: tenants create, delete, relabel and replace records for hostnames
// that overlap, through the real API; customers follow what some record asks
// them for, one DNS record at a time, and leave things behind; a CA issues what
// is wanted, sometimes late; clients forge statuses; looks happen at any moment,
// name servers fall silent, the clock jumps and the node restarts. Every write to
// the store is held to what the rule on tenants promises, told here in other
// words than the product's.

const modelZone = "cname.example.net"

// modelAddress is the edge's, and stands in place of a target in the customers' DNS.
const modelAddress = "203.0.113.10"

var (
	modelHosts  = []string{"example.com", "*.example.com", "api.example.com", "*.api.example.com"}
	modelOwners = []string{"alice", "bob", ""}
	// modelProbes are the names that visitors ask for.
	modelProbes = []string{"example.com", "api.example.com", "www.example.com", "x.api.example.com"}
)

type held struct{ owner, hostname string }

// model is the world, and the history that promises are held to.
type model struct {
	t      *testing.T
	rng    *rand.Rand
	inner  store.Store
	api    *apiserver.Server
	table  *hosts.Table
	ctl    *controller.Controller
	stop   func()
	ahead  atomic.Int64
	silent atomic.Bool // no name server answers
	// tellNobody: the controller hears of no change any more.
	tellNobody atomic.Bool
	steps      []string

	mu     sync.Mutex
	dns    map[string]string // name: CNAME target
	wants  map[string]issuance.Want
	certs  map[string]ownership.CertificateObservation
	flight []issuance.Want // validated by the CA, not yet issued

	live         map[string]*v1alpha3.DomainRecord // by record name
	lastVerified map[string]string                 // by hostname, an owner
	followed     map[held]bool                     // a customer followed a record of that owner for that hostname
	followedUID  map[types.UID]bool
	published    map[string]bool // "name target" that a customer ever published
}

func (m *model) now() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }

// spy holds every write to the promises, in the order of the writes.
type spy struct {
	store.Store
	m *model
}

func (s spy) Write(ctx context.Context, ops ...store.Op) (int64, error) {
	s.m.mu.Lock()
	defer s.m.mu.Unlock()
	rev, err := s.Store.Write(ctx, ops...)
	if err == nil {
		s.m.observe(ops)
	}
	return rev, err
}

// observe takes over a write. m.mu is held.
func (m *model) observe(ops []store.Op) {
	written := map[string]*v1alpha3.DomainRecord{}
	for _, op := range ops {
		name, ok := strings.CutPrefix(op.Key, "domainrecords/")
		if !ok || op.Check {
			continue
		}
		if op.Value == nil {
			delete(m.live, name)
			continue
		}
		r := new(v1alpha3.DomainRecord)
		if err := json.Unmarshal(op.Value, r); err != nil {
			m.t.Errorf("what was written at %s cannot be read: %v", op.Key, err)
			continue
		}
		written[name] = r
	}
	for name, r := range written {
		before := m.live[name]
		m.live[name] = r
		if r.Verified() && !(before != nil && before.UID == r.UID && before.Verified()) {
			m.opened(r)
		}
		if r.Verified() {
			m.lastVerified[r.Spec.Name] = r.Owner()
		}
	}
}

// contested is the rule in the model's own words. m.mu is held.
func (m *model) contested(r *v1alpha3.DomainRecord) bool {
	host, other := r.Spec.Name, "*."+r.Spec.Name
	if base, ok := strings.CutPrefix(host, "*."); ok {
		other = base
	}
	for _, h := range []string{host, other} {
		if owner, ok := m.lastVerified[h]; ok && owner != r.Owner() {
			return true
		}
	}
	for _, x := range m.live {
		if x.Spec.Name == other && x.Owner() != r.Owner() {
			return true
		}
	}
	return false
}

// opened judges a record that has just become verified. m.mu is held.
func (m *model) opened(r *v1alpha3.DomainRecord) {
	token := v1alpha3.OwnerApoxyChallengeName(r.Spec.Name) + " " + v1alpha3.TokenVerifyName(v1alpha3.VerifyToken(r.UID), modelZone)
	if m.contested(r) {
		if !m.published[token] {
			m.fail("%s of %q is contested and was verified without its token: %+v", r.Spec.Name, r.Owner(), r.Status.Ownership)
		}
		return
	}
	if m.followed[held{r.Owner(), r.Spec.Name}] || m.followedUID[r.UID] {
		return
	}
	// Nobody was ever verified here, so what stands in DNS is what it asks for,
	for _, d := range v1alpha3.ExpectedDNSRecords(r, modelZone, "") {
		if m.published[d.Name+" "+d.Value] {
			return
		}
	}
	// or the edge's address at the name itself: at an apex, or to be proven by a certificate.
	if apex := r.Spec.Name == "example.com"; m.published[v1alpha3.OwnerTrafficName(r.Spec.Name)+" "+modelAddress] && (apex || r.WantsTLS()) {
		for _, up := range []string{"*.api.example.com", "*.example.com"} {
			if owner, ok := m.lastVerified[up]; !apex && ok && owner != r.Owner() && strings.HasSuffix(r.Spec.Name, up[1:]) {
				m.fail("%s of %q was verified by an address below %s of %q", r.Spec.Name, r.Owner(), up, owner)
			}
		}
		return
	}
	if !m.published[token] {
		m.fail("%s of %q was verified although no customer followed it: %+v", r.Spec.Name, r.Owner(), r.Status.Ownership)
	}
}

func (m *model) fail(format string, args ...any) {
	m.t.Errorf(format+"\nafter:\n\t%s", append(args, strings.Join(m.steps, "\n\t"))...)
}

// Observe and CAA are the customers' DNS.
func (m *model) Observe(_ context.Context, hostname string, kind resolver.Kind) ownership.DNSObservation {
	if m.silent.Load() {
		return ownership.DNSObservation{Err: "silence"}
	}
	name := map[resolver.Kind]string{
		resolver.KindTraffic:       v1alpha3.OwnerTrafficName(hostname),
		resolver.KindACMEChallenge: v1alpha3.OwnerACMEChallengeName(hostname),
		resolver.KindOwnership:     v1alpha3.OwnerApoxyChallengeName(hostname),
	}[kind]
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seen(name)
}

// seen is what DNS answers for a name. m.mu is held.
func (m *model) seen(name string) ownership.DNSObservation {
	target, ok := m.dns[name]
	_, up, _ := strings.Cut(name, ".")
	wildcard, below := m.dns["*."+up]
	if !ok {
		target, ok = wildcard, below
	}
	switch {
	case !ok:
		return ownership.DNSObservation{Outcome: ownership.Absent, NXDomain: true}
	case target != modelAddress:
		return ownership.DNSObservation{Outcome: ownership.Seen, Chain: []string{target}}
	}
	address := []netip.Addr{netip.MustParseAddr(modelAddress)}
	o := ownership.DNSObservation{Outcome: ownership.Seen, Addresses: address, Sibling: ownership.Sibling{Told: true}}
	if wildcard == modelAddress {
		o.Sibling.Addresses = address
	}
	return o
}

func (m *model) CAA(context.Context, string) (ownership.CAAObservation, error) {
	return ownership.CAAObservation{Outcome: ownership.Absent}, nil
}

// wanted is the model's scheduler: certificates outlive their records.
type wanted struct{ m *model }

func (w wanted) Want(x issuance.Want) {
	w.m.mu.Lock()
	w.m.wants[x.Hostname] = x
	w.m.mu.Unlock()
}

func (w wanted) Forget(hostname string) {
	w.m.mu.Lock()
	delete(w.m.wants, hostname)
	w.m.mu.Unlock()
}

func (wanted) Retry(string) {}

func (w wanted) Observe(hostname string) ownership.CertificateObservation {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	o, ok := w.m.certs[hostname]
	x, isWanted := w.m.wants[hostname]
	if !ok || isWanted && o.RecordUID != x.UID && o.RecordOwner != x.Owner {
		return ownership.CertificateObservation{Outcome: ownership.Absent}
	}
	return o
}

// start runs a node over the store.
func (m *model) start() {
	m.table = hosts.New()
	m.ctl = controller.New(controller.Config{
		Store: spy{m.inner, m}, Table: m.table, Resolver: m, Issuance: wanted{m}, Now: m.now,
		Target: func(v1alpha3.TargetKey) ownership.TargetObservation {
			return ownership.TargetObservation{Found: true, Healthy: true}
		},
		Settings: m.settings,
	})
	ctl := m.ctl
	api, err := apiserver.New(apiserver.Config{
		Store: spy{m.inner, m}, Zone: func() string { return modelZone }, Now: m.now,
		Prepare: func(r, replaced *v1alpha3.DomainRecord) {
			contest, err := ctl.Contest(context.Background(), r, replaced)
			if err != nil {
				m.t.Error(err)
			}
			r.Status = ownership.Initial(r, contest, m.settings(), m.now())
		},
	})
	if err != nil {
		m.t.Fatal(err)
	}
	m.api = api
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	loaded := make(chan struct{})
	work.Go(func() {
		hosts.Follow(ctx, m.inner, hosts.Follower{Table: m.table, OnChange: func(c hosts.Change) {
			if !m.tellNobody.Load() {
				ctl.Changed(c)
			}
		}, OnTold: func() { close(loaded) }})
	})
	<-loaded
	work.Go(func() { ctl.Run(ctx) })
	m.stop = func() {
		cancel()
		work.Wait()
		api.Close()
	}
}

func (m *model) settings() ownership.Settings {
	return ownership.Settings{Zone: ownership.Zone{Name: modelZone, EdgeAddresses: []netip.Addr{netip.MustParseAddr(modelAddress)}}, CheckInterval: time.Hour, DetachAfter: 10 * time.Minute}
}

func (m *model) call(method, path string, body any) int {
	raw, err := json.Marshal(body)
	if err != nil {
		m.t.Fatal(err)
	}
	req := httptest.NewRequest(method, "/apis/core.apoxy.dev/v1alpha3/domainrecords"+path, bytes.NewReader(raw))
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	w := httptest.NewRecorder()
	m.api.ServeHTTP(w, req)
	if w.Code >= 500 {
		m.fail("%s %s: %d %s", method, path, w.Code, w.Body)
	}
	return w.Code
}

// records are the live ones, in an order that the seed decides alone.
func (m *model) records() (all []*v1alpha3.DomainRecord) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, host := range modelHosts {
		for _, r := range m.live {
			if r.Spec.Name == host {
				all = append(all, r)
			}
		}
	}
	return all
}

// record picks a live record, nil if there is none.
func (m *model) record() *v1alpha3.DomainRecord {
	all := m.records()
	if len(all) == 0 {
		return nil
	}
	return all[m.rng.IntN(len(all))]
}

func pick[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

// look has every record looked at and waits for what that comes to.
func (m *model) look() {
	for range 2 { // what one record comes to is news to its neighbour
		m.mu.Lock()
		var names []string
		for name := range m.live {
			names = append(names, name)
		}
		m.mu.Unlock()
		for _, name := range names {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			err := m.ctl.Check(ctx, name)
			for err != nil && !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil { // it has not begun to run
				err = m.ctl.Check(ctx, name)
			}
			if ctx.Err() != nil {
				m.fail("looking at %s: %v", name, err)
			}
			cancel()
		}
	}
	_, rev, _ := m.inner.Get(context.Background(), "-")
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := m.table.WaitRevision(ctx, rev); err != nil {
		m.fail("waiting for the table: %v", err)
	}
}

// served is which record answers visitors of each probe.
func (m *model) served() map[string]*hosts.Host {
	out := map[string]*hosts.Host{}
	for _, name := range modelProbes {
		if h, ok := m.table.Match(name); ok && h.Verified {
			out[name] = h
		}
	}
	return out
}

// pass lets enough time go by for everything that is withdrawn to fall.
func (m *model) pass() {
	for range 2 {
		m.look()
		m.ahead.Add(int64(11 * time.Minute))
	}
	m.look()
}

// tenant does something on behalf of one tenant, and holds that no other
// tenant's service changes by it, not later either.
func (m *model) tenant(actor string, act func()) {
	m.pass()
	before := m.served()
	act()
	m.pass()
	after := m.served()
	for name, b := range before {
		a := after[name]
		m.mu.Lock()
		expiry := m.certs[b.Hostname].NotAfter
		m.mu.Unlock()
		switch since := m.now().Sub(expiry); {
		case b.Owner() == actor || b.TLS && since > 0 && since < 2*time.Hour: // what rested on the certificate alone
		case a == nil:
			m.fail("%s was served by %s of %q and is not any more, by an act of %q", name, b.Hostname, b.Owner(), actor)
		case a.UID() != b.UID() && a.Hostname != name:
			m.fail("%s passed from %s of %q to %s of %q by an act of %q", name, b.Hostname, b.Owner(), a.Hostname, a.Owner(), actor)
		}
	}
	m.quiet()
}

// quiet holds what is true whenever everything has been looked at.
func (m *model) quiet() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orderly()
	for _, r := range m.live {
		host := r.Spec.Name
		if c := m.certs[host]; r.Verified() && isReady(r) && c.RecordUID != string(r.UID) && c.RecordOwner != r.Owner() {
			m.fail("%s of %q has the certificate of %q", host, r.Owner(), c.RecordOwner)
		}
	}
}

// orderly holds what is true at a start already. m.mu is held.
func (m *model) orderly() {
	for _, r := range m.live {
		w, isWanted := m.wants[r.Spec.Name]
		if !r.Verified() && m.contested(r) && isWanted {
			m.fail("a certificate is wanted for %s, which is contested and unproven: %+v", r.Spec.Name, w)
		}
	}
}

func isReady(r *v1alpha3.DomainRecord) bool {
	c := r.Status.Condition(v1alpha3.ConditionTLSReady)
	return c != nil && c.Status == "True"
}

func (m *model) step() {
	note := func(format string, args ...any) { m.steps = append(m.steps, fmt.Sprintf(format, args...)) }
	r := m.record()
	action := m.rng.IntN(18)
	if r == nil {
		action = 0
	}
	switch action {
	case 0, 1, 2:
		m.create(pick(m.rng, modelOwners), modelHosts[min(m.rng.IntN(6), m.rng.IntN(4), len(modelHosts)-1)], note)
	case 3, 4:
		m.tenant(r.Owner(), func() {
			note("%q deletes %s (%s)", r.Owner(), r.Name, r.Spec.Name)
			m.call("DELETE", "/"+r.Name, nil)
		})
	case 5:
		owner := pick(m.rng, modelOwners)
		m.tenant(r.Owner(), func() {
			note("the operator relabels %s (%s) from %q to %q", r.Name, r.Spec.Name, r.Owner(), owner)
			var label any = owner
			if owner == "" {
				label = nil
			}
			m.call("PATCH", "/"+r.Name, map[string]any{"metadata": map[string]any{"labels": map[string]any{v1alpha3.OwnerLabel: label}}})
		})
	case 6, 7, 8:
		m.mu.Lock()
		if now := m.live[r.Name]; now != nil && len(now.Status.DNSRecords) > 0 {
			d := pick(m.rng, now.Status.DNSRecords)
			note("a customer follows %q: %s CNAME %s", now.Owner(), d.Name, d.Value)
			m.dns[d.Name] = d.Value
			m.followed[held{now.Owner(), now.Spec.Name}], m.followedUID[now.UID], m.published[d.Name+" "+d.Value] = true, true, true
		}
		m.mu.Unlock()
	case 9:
		m.remove(note)
	case 10, 11:
		m.validate(note)
		if m.rng.IntN(2) == 0 {
			m.issue(note)
		}
	case 12:
		m.issue(note)
	case 13:
		d := pick(m.rng, []time.Duration{time.Minute, 11 * time.Minute, 2 * time.Hour, -time.Hour})
		note("the clock goes by %s", d)
		m.ahead.Add(int64(d))
		if m.rng.IntN(3) == 0 {
			m.silent.Store(!m.silent.Load())
			note("silence: %v", m.silent.Load())
		}
	case 14:
		m.crash(note)
	case 15:
		note("a client forges the status of %s (%s)", r.Name, r.Spec.Name)
		m.call("PATCH", "/"+r.Name+"/status", m.forged(r))
	case 16:
		m.rivalry(note)
	case 17:
		m.address(pick(m.rng, modelHosts), note)
		if m.rng.IntN(2) == 0 {
			m.poach(note)
		}
	}
	if m.rng.IntN(3) == 0 {
		note("everything is looked at")
		m.look()
		m.quiet()
	}
}

// validate has the CA look at what is wanted of it.
func (m *model) validate(note func(string, ...any)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, host := range modelHosts {
		if w, ok := m.wants[host]; ok && m.validates(w) {
			note("the CA validates %s for %s of %q", host, w.UID, w.Owner)
			m.flight = append(m.flight, w)
		}
	}
}

// address has a customer point a name at the edge by address.
func (m *model) address(host string, note func(string, ...any)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := v1alpha3.OwnerTrafficName(host)
	note("a customer creates %s A %s", name, modelAddress)
	m.dns[name], m.published[name+" "+modelAddress] = modelAddress, true
}

// poach has a tenant create a record for a hostname that leads here by address, if
// at all, and by a wildcard's at that, and the CA do its part.
func (m *model) poach(note func(string, ...any)) {
	m.address("*.example.com", note)
	m.mu.Lock()
	if m.rng.IntN(2) == 0 {
		note("nothing else stands at api.example.com.")
		delete(m.dns, "api.example.com.")
	} else {
		note("the wildcard itself goes")
		delete(m.dns, "*.example.com.")
	}
	m.mu.Unlock()
	m.create(pick(m.rng, modelOwners), "api.example.com", note)
	m.validate(note)
	m.issue(note)
	m.look()
}

// rivalry has a claim beside a verified record go and another one come, while the
// customer removes what is not asked for any more.
func (m *model) rivalry(note func(string, ...any)) {
	for _, r := range m.records() {
		if !r.Verified() || r.WantsTLS() {
			continue
		}
		for _, rival := range m.records() {
			if rival.Spec.Name == ownership.Neighbour(r.Spec.Name) {
				m.tenant(rival.Owner(), func() {
					note("%q deletes %s (%s), beside %s", rival.Owner(), rival.Name, rival.Spec.Name, r.Spec.Name)
					m.call("DELETE", "/"+rival.Name, nil)
				})
			}
		}
		m.mu.Lock()
		for _, d := range r.Status.DNSRecords {
			if d.Purpose == v1alpha3.PurposeTraffic {
				note("a customer follows %q: %s CNAME %s", r.Owner(), d.Name, d.Value)
				m.dns[d.Name] = d.Value
				m.followed[held{r.Owner(), r.Spec.Name}], m.followedUID[r.UID], m.published[d.Name+" "+d.Value] = true, true, true
			}
		}
		m.mu.Unlock()
		m.look()
		m.remove(note)
		m.look()
		m.create(pick(m.rng, modelOwners), ownership.Neighbour(r.Spec.Name), note)
		return
	}
}

// create has a tenant create a record, which may replace the one that is there.
func (m *model) create(owner, host string, note func(string, ...any)) {
	next := map[string]any{"name": fmt.Sprintf("r%d", len(m.steps))}
	if owner != "" {
		next["labels"] = map[string]string{v1alpha3.OwnerLabel: owner}
	}
	if m.rng.IntN(2) == 0 {
		m.mu.Lock()
		for name, x := range m.live {
			if x.Spec.Name == host {
				next["annotations"] = map[string]string{v1alpha3.ReplacesAnnotation: name}
			}
		}
		m.mu.Unlock()
	}
	spec := map[string]any{"name": host, "target": map[string]any{"ref": map[string]any{"kind": "Gateway", "name": "g"}}}
	if m.rng.IntN(3) > 0 {
		spec["tls"] = map[string]any{}
	}
	m.tenant(owner, func() {
		code := m.call("POST", "", map[string]any{"metadata": next, "spec": spec})
		note("%q creates %v for %s, replacing %v, tls %v: %d", owner, next["name"], host, next["annotations"], spec["tls"] != nil, code)
	})
}

// remove has a customer remove something: what a verified record does not ask for
// any more, where there is such, or else anything.
func (m *model) remove(note func(string, ...any)) {
	all := m.records()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range all {
		d, traffic := r.Status.DNSRecord(v1alpha3.PurposeOwnership), r.Status.DNSRecord(v1alpha3.PurposeTraffic)
		if d != nil && !d.Required && r.Verified() && traffic.Configured && m.dns[d.Name] != "" {
			note("the customer of %s tidies up %s", r.Spec.Name, d.Name)
			delete(m.dns, d.Name)
			return
		}
	}
	names := slices.Sorted(maps.Keys(m.dns))
	if len(names) > 0 {
		name := pick(m.rng, names)
		note("a customer removes %s", name)
		delete(m.dns, name)
	}
}

// crash ends the node, sometimes with the last thing that a client did not yet
// looked at, and starts it again.
func (m *model) crash(note func(string, ...any)) {
	for _, r := range m.records() {
		if r.Verified() || r.Status.Phase != v1alpha3.PhaseIssuing {
			continue
		}
		host, owner := ownership.Neighbour(r.Spec.Name), pick(m.rng, modelOwners)
		metadata := map[string]any{"name": fmt.Sprintf("r%d-%s", len(m.steps), r.Name)}
		if owner != "" {
			metadata["labels"] = map[string]string{v1alpha3.OwnerLabel: owner}
		}
		m.tellNobody.Store(true)
		code := m.call("POST", "", map[string]any{"metadata": metadata,
			"spec": map[string]any{"name": host, "target": map[string]any{"ref": map[string]any{"kind": "Gateway", "name": "g"}}}})
		note("%q creates %v for %s in the last moment: %d", owner, metadata["name"], host, code)
		break
	}
	note("the node restarts")
	m.stop()
	m.tellNobody.Store(false)
	m.mu.Lock()
	clear(m.wants)
	m.mu.Unlock()
	m.start()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.orderly()
}

// validates is what a CA sees of a hostname. m.mu is held.
func (m *model) validates(w issuance.Want) bool {
	byDNS := m.dns[v1alpha3.OwnerACMEChallengeName(w.Hostname)] == v1alpha3.ChallengeName(w.Hostname, modelZone)
	// The product looks once more before it orders, and a CA goes by the address.
	byHTTP := ownership.Arrives(w.Hostname, m.seen(v1alpha3.OwnerTrafficName(w.Hostname)), m.settings().Zone)
	return w.DNS01 && byDNS || w.HTTP01 && byHTTP
}

// issue hands out what was validated, wanted still or not.
func (m *model) issue(note func(string, ...any)) {
	m.mu.Lock()
	flight := m.flight
	m.flight = nil
	for _, w := range flight {
		note("the CA issues %s for %s of %q", w.Hostname, w.UID, w.Owner)
		m.certs[w.Hostname] = ownership.CertificateObservation{Outcome: ownership.Seen, RecordUID: w.UID, RecordOwner: w.Owner,
			NotBefore: m.now().Add(-time.Minute), NotAfter: m.now().Add(12 * time.Hour)}
	}
	m.mu.Unlock()
	for _, w := range flight {
		m.ctl.CertificateChanged(w.Hostname)
	}
}

// forged is a status that says that all is well, until long after now.
func (m *model) forged(r *v1alpha3.DomainRecord) any {
	at := m.now().Add(1000 * time.Hour).UTC().Format(time.RFC3339)
	var conditions, records []any
	for _, c := range v1alpha3.ConditionTypes() {
		conditions = append(conditions, map[string]any{"type": c, "status": "True", "reason": "Forged", "message": "", "lastTransitionTime": at})
	}
	for _, d := range v1alpha3.ExpectedDNSRecords(r, modelZone, "") {
		records = append(records, map[string]any{"purpose": d.Purpose, "type": d.Type, "name": d.Name, "value": d.Value,
			"observed": []string{"CNAME " + d.Value}, "configured": true, "required": false, "lastTransitionTime": at})
	}
	return map[string]any{"status": map[string]any{"phase": "Active", "conditions": conditions, "dnsRecords": records,
		"certificate": map[string]any{"notAfter": at}, "ownership": map[string]any{"verified": true, "verifiedTime": at, "owner": r.Owner()}}}
}

func TestTenantsModel(t *testing.T) {
	const runs, steps = 24, 60
	verified := atomic.Int64{}
	t.Run("runs", func(t *testing.T) {
		for seed := range uint64(runs) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				st, err := boltstore.Open(filepath.Join(t.TempDir(), "apoxy.db"), boltstore.Options{})
				if err != nil {
					t.Fatal(err)
				}
				defer st.Close()
				m := &model{
					t: t, rng: rand.New(rand.NewPCG(seed, 9)), inner: st,
					dns: map[string]string{}, wants: map[string]issuance.Want{}, certs: map[string]ownership.CertificateObservation{},
					live: map[string]*v1alpha3.DomainRecord{}, lastVerified: map[string]string{},
					followed: map[held]bool{}, followedUID: map[types.UID]bool{}, published: map[string]bool{},
				}
				m.start()
				defer func() { m.stop() }()
				for range steps {
					m.step()
					if t.Failed() {
						return
					}
				}
				verified.Add(int64(len(m.lastVerified)))
			})
		}
	})
	if n := verified.Load(); n < runs {
		t.Errorf("only %d hostnames were verified in %d runs: the model does not reach what it is to hold", n, runs)
	}
}
