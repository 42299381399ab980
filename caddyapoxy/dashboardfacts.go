package caddyapoxy

import (
	"cmp"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/dashboard"
	"github.com/apoxy-dev/caddy-apoxy/doctor"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/timeline"
	"github.com/apoxy-dev/caddy-apoxy/vitals"
)

// facts are what the dashboard shows beside records, each asked of who owns it.
type facts struct{ rt *runtime }

// Issuance implements dashboard.Facts.
func (f facts) Issuance(context.Context) (out dashboard.Issuance) {
	for _, o := range f.rt.scheduler.Outlook() {
		out.Authorities = append(out.Authorities, dashboard.Authority{
			Name: o.Name, Directory: o.Directory, Waiting: o.Waiting, InFlight: o.InFlight,
			Held: o.Held, Why: o.Why, Done: o.Done,
		})
	}
	if x := f.rt.scheduler.Expiries(); !x.At.IsZero() {
		out.Expiries, out.Later, out.Expired = x.Days[:], x.Later, x.Expired
	}
	return out
}

// Series implements dashboard.Facts.
func (f facts) Series(context.Context) (out []dashboard.Series) {
	for _, s := range f.rt.vitals.Series() {
		out = append(out, dashboard.Series{Name: s.Name, Unit: "in a minute", Step: vitals.Step, End: s.End, Values: s.Values})
	}
	return out
}

// nodesFor is how long what the nodes say of themselves is shown, for all of them are
// asked; nodesWithin bounds the question, which a page waits for.
const (
	nodesFor    = 10 * time.Second
	nodesWithin = 2 * time.Second
)

// nodesNow is what they said last.
type nodesNow struct {
	sync.Mutex
	at    time.Time
	nodes []dashboard.Node
	err   error
}

// Nodes implements dashboard.Facts.
func (f facts) Nodes(ctx context.Context) ([]dashboard.Node, error) {
	n := &f.rt.nodes
	n.Lock() // not for long: the question is bounded
	defer n.Unlock()
	if now := time.Now(); now.Sub(n.at) >= nodesFor || n.at.IsZero() {
		n.nodes, n.err = f.askNodes(context.WithoutCancel(ctx)) // others wait for the same answer
		n.at = time.Now()
	}
	return slices.Clone(n.nodes), n.err
}

func (f facts) askNodes(ctx context.Context) (out []dashboard.Node, err error) {
	ctx, cancel := context.WithTimeout(ctx, nodesWithin)
	defer cancel()
	status := f.rt.clusterStatus(ctx)
	for _, n := range status.Nodes {
		node := dashboard.Node{Name: n.Name, Live: n.Live, Self: n.Name == status.Node, Version: n.Version, Since: n.Since, Looks: n.Looks, Problem: n.Problem}
		if n.Live && !n.Answers && node.Problem == "" {
			node.Problem = "it holds its lease and does not answer"
		}
		out = append(out, node)
	}
	if status.Problem != "" {
		err = errors.New(status.Problem)
	}
	return out, err
}

// fromHere is told with the doctor's findings: they are this server's own.
var fromHere = dashboard.Finding{
	Level: string(doctor.Note), Check: "view", Subject: "where this was seen from",
	Seen: "this server itself: a firewall or a network before it is not seen from here",
	Mend: "run `caddy apoxy doctor` on a machine elsewhere, with --address of an admin endpoint that it reaches, to see what the world sees",
}

// Findings implements dashboard.Facts.
func (f facts) Findings(context.Context) (out []dashboard.Finding, at time.Time, err error) {
	report, at, err := f.rt.rounds.Latest()
	for _, n := range report.Findings {
		out = append(out, dashboard.Finding{
			Level: string(n.Level), Check: n.Check, Subject: n.Subject, Seen: n.Seen, Expected: n.Expected, Mend: n.Mend,
		})
	}
	if len(out) > 0 {
		out = append(out, fromHere)
	}
	return out, at, err
}

// Timeline implements dashboard.Facts. A record without events has none.
func (f facts) Timeline(ctx context.Context, uid string) ([]dashboard.Event, error) {
	l, err := f.rt.timelines.Line(ctx, uid)
	if err != nil || len(l.Events) == 0 {
		return nil, err
	}
	if l.Created.IsZero() {
		l.Created = f.rt.createdAt(ctx, l.Hostname, uid)
	}
	return eventsOf(l), nil
}

// createdAt is when a record was created; the zero time: that cannot be told.
func (rt *runtime) createdAt(ctx context.Context, hostname, uid string) time.Time {
	h, ok := rt.table.Get(hostname)
	if !ok || !h.IsUID(uid) {
		return time.Time{}
	}
	entry, _, err := rt.store.Get(ctx, hosts.Prefix+h.Name())
	if err != nil {
		return time.Time{}
	}
	var r struct {
		Metadata struct {
			UID               string    `json:"uid"`
			CreationTimestamp time.Time `json:"creationTimestamp"`
		} `json:"metadata"`
	}
	if json.Unmarshal(entry.Value, &r) != nil || r.Metadata.UID != uid {
		return time.Time{}
	}
	return r.Metadata.CreationTimestamp
}

// eventsOf is a time line as it is shown. What happened several times in a row is shown
// twice: the first time and the last.
func eventsOf(l timeline.Line) (out []dashboard.Event) {
	if !l.Created.IsZero() {
		out = append(out, dashboard.Event{Time: l.Created, Type: "Created", Message: "The record was created."})
	}
	for _, e := range l.Events {
		shown := dashboard.Event{Time: e.At, Type: e.Type, From: e.From, To: e.To, Reason: e.Reason, Message: e.Message}
		if e.Type == ofCertificate && e.Message == "" {
			shown.Message = "A certificate was obtained."
		}
		if e.Count > 1 {
			first := shown
			first.Message = fmt.Sprintf("The first of %d times in a row.", e.Count)
			out = append(out, first)
			shown.Time = e.Last
		}
		out = append(out, shown)
	}
	slices.SortStableFunc(out, func(a, b dashboard.Event) int { return a.Time.Compare(b.Time) })
	return out
}

// placeWithin bounds the question where a hostname stands at another node.
const placeWithin = 2 * time.Second

// Place implements dashboard.Facts. The node that looks after the hostname is asked.
func (f facts) Place(ctx context.Context, hostname string) (dashboard.Place, bool) {
	a := f.rt.placeHere(hostname)
	if owner := f.rt.member.Owner(hostname); !f.rt.member.Alone() && owner != "" && owner != f.rt.nodeName() {
		ctx, cancel := context.WithTimeout(ctx, placeWithin)
		defer cancel()
		value, err := f.rt.member.Ask(ctx, owner, askPlace, hostname)
		if err != nil || json.Unmarshal(value, &a) != nil {
			return dashboard.Place{}, false
		}
	}
	p := a.Place
	return dashboard.Place{Authority: p.Authority, Ahead: p.Ahead, Due: p.Due, InFlight: p.InFlight, Why: p.Why}, a.Waits
}

// placeAnswer is where a hostname stands, if it waits.
type placeAnswer struct {
	Place issuance.Place `json:"place"`
	Waits bool           `json:"waits"`
}

func (rt *runtime) placeHere(hostname string) (a placeAnswer) {
	a.Place, a.Waits = rt.scheduler.Place(hostname)
	return a
}

// Certificate implements dashboard.Facts.
func (f facts) Certificate(ctx context.Context, hostname string) ([]dashboard.Certificate, error) {
	h, ok := f.rt.table.Get(hostname)
	if !ok || !h.TLS {
		return nil, nil
	}
	chain, err := f.rt.scheduler.Chain(ctx, hostname, h.UID())
	if err != nil {
		return nil, err
	}
	out := make([]dashboard.Certificate, 0, len(chain))
	for _, c := range chain {
		out = append(out, certificateOf(c))
	}
	return out, nil
}

// maxNames is how many names of a certificate are shown.
const maxNames = 100

func certificateOf(c *x509.Certificate) dashboard.Certificate {
	sum := sha256.Sum256(c.Raw)
	return dashboard.Certificate{
		Subject: subjectOf(c), Issuer: c.Issuer.String(), Names: c.DNSNames[:min(len(c.DNSNames), maxNames)],
		SerialNumber: fmt.Sprintf("%x", c.SerialNumber), NotBefore: c.NotBefore, NotAfter: c.NotAfter,
		KeyType: keyType(c), Signature: c.SignatureAlgorithm.String(), SHA256: hex.EncodeToString(sum[:]),
	}
}

// subjectOf is a certificate's subject or, where a CA leaves that empty (RFC 5280 section
// 4.2.1.6), its first name.
func subjectOf(c *x509.Certificate) string {
	if len(c.DNSNames) > 0 {
		return cmp.Or(c.Subject.String(), c.DNSNames[0])
	}
	return cmp.Or(c.Subject.String(), "no subject")
}

func keyType(c *x509.Certificate) string {
	switch k := c.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Params().Name
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return c.PublicKeyAlgorithm.String()
}
