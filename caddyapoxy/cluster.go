package caddyapoxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/cluster"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// joinWithin is how long a start waits for this node's place in the cluster before it
	// goes on without.
	joinWithin = 5 * time.Second
	// maxAsked is how many questions of other nodes are worked on at once.
	maxAsked = 64
	// askedWithin bounds the work on one.
	askedWithin = 2 * time.Minute
	// maxNodeName is how long a node's name may be.
	maxNodeName = 100
)

// What nodes ask each other.
const (
	askCheck    = "check"    // about a record's name
	askRelease  = "release"  // of the fleet brake
	askReplay   = "replay"   // of webhooks, about a webhook.Selection
	askWebhooks = "webhooks" // what waits for them
	askReport   = "report"   // on how the node is
	askPlace    = "place"    // in the issuance queue, of a hostname
)

// hostNode is the host's name as a node's; without one it is "node".
func hostNode() string {
	name, err := os.Hostname()
	if err != nil || checkNode(name) != nil {
		return "node"
	}
	return name
}

// checkNode says what is wrong with a node's name.
func checkNode(name string) error {
	bad := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '.' || r == '_')
	}
	if isPlaceholder(name) || name != "" && len(name) <= maxNodeName && !strings.ContainsFunc(name, bad) {
		return nil
	}
	return fmt.Errorf("node: expected a name of at most %d letters, digits, dots, hyphens and underscores, such as n1, got %.120q", maxNodeName, name)
}

// newMember makes this node's place among those that share the store.
func (rt *runtime) newMember(st store.Store, logger *zap.Logger) *cluster.Member {
	return cluster.New(cluster.Config{
		Store: st, Name: rt.nodeName, Instance: rt.instance(), Version: pluginVersion(),
		CaughtUp: rt.caughtUp,
		OnShares: rt.sharesChanged,
		OnMail:   rt.mail,
		Logger:   logger,
	})
}

// nodeName is this node's name in the configuration in force.
func (rt *runtime) nodeName() string {
	if a := rt.apps.Current(); a != nil {
		return a.Node
	}
	return hostNode()
}

// instance tells this installation from others: Caddy keeps an ID in its data directory.
func (rt *runtime) instance() string {
	id, err := caddy.InstanceID()
	if err != nil {
		rt.logger.Warn("this installation's ID cannot be kept, so that after a crash this node waits for its former lease to end", zap.Error(err))
	}
	return id.String()
}

// joinCluster has this node join, and waits a little until it has: the sooner it knows
// which records are its own, the less changes hands.
func (rt *runtime) joinCluster() {
	if rt.member.Alone() {
		return
	}
	stay, leave := context.WithCancel(context.Background())
	rt.leave = leave
	rt.joined.Go(func() { _ = rt.member.Run(stay) })
	ctx, cancel := context.WithTimeout(rt.ctx, joinWithin)
	defer cancel()
	_ = rt.member.WaitJoined(ctx) // it goes on trying, and says why it has not
}

// leaveCluster gives this node's lease back.
func (rt *runtime) leaveCluster() {
	if rt.leave != nil {
		rt.leave()
		rt.joined.Wait()
	}
}

// sharesChanged has the rooms take up, and let go of, what has changed hands.
func (rt *runtime) sharesChanged() {
	rt.scheduler.SharesChanged() // before: the controller tells it what is wanted
	rt.controller.SharesChanged()
	rt.webhooks.NodesChanged()
}

// nodeOfCluster is this node's name; empty where there is one node alone.
func (rt *runtime) nodeOfCluster() string {
	if rt.member.Alone() {
		return ""
	}
	return rt.nodeName()
}

// takesOver reports whether this node does what another had to do, told apart by key:
// that one is gone.
func (rt *runtime) takesOver(node, key string) bool {
	return rt.member.Live() && rt.member.Mine(key) && !slices.Contains(rt.liveNodeNames(), node)
}

// allRRSets are those of the zones that are served, or were.
func (rt *runtime) allRRSets() []*dnsprovider.RRSets {
	rt.mu.Lock()
	defer rt.mu.Unlock()
	all := make([]*dnsprovider.RRSets, 0, len(rt.rrsets))
	for _, r := range rt.rrsets {
		all = append(all, r)
	}
	return all
}

// zonesCaughtUp returns once all zones are answered from a revision of the store.
func (rt *runtime) zonesCaughtUp(ctx context.Context, revision int64) error {
	for _, r := range rt.allRRSets() {
		if err := r.WaitRevision(ctx, revision); err != nil {
			return err
		}
	}
	return nil
}

// caughtUp returns once this node answers, and judges, by what the store has at a revision.
// Before the first reading is done, nothing is judged.
func (rt *runtime) caughtUp(ctx context.Context, revision int64) error {
	err := rt.zonesCaughtUp(ctx, revision)
	if err == nil && rt.loaded.Load() {
		err = rt.table.WaitRevision(ctx, revision)
	}
	if err == nil && rt.loaded.Load() {
		err = rt.scheduler.WaitRevision(ctx, revision)
	}
	return err
}

// zonePeers are the other nodes, for a zone.
type zonePeers struct{ rt *runtime }

// Acknowledge implements dnsprovider.Peers: what one zone has come to is told once all
// have.
func (p zonePeers) Acknowledge(revision int64) {
	p.rt.run("acknowledging a challenge", func(ctx context.Context) error {
		if err := p.rt.zonesCaughtUp(ctx, revision); err != nil {
			return err
		}
		p.rt.member.Acknowledge(revision)
		return nil
	})
}

// Confirm implements dnsprovider.Peers.
func (p zonePeers) Confirm(ctx context.Context, revision int64) error {
	return p.rt.member.Confirm(ctx, revision)
}

// fallingElsewhere is what other nodes' records are about to lose.
func (rt *runtime) fallingElsewhere() controller.Falling {
	f := rt.member.Falling()
	return controller.Falling{Records: f.Records, Fallen: f.Fallen, Owners: f.Owners}
}

// fallingHere tells other nodes of this one's; nil where there are none.
func (rt *runtime) fallingHere() func(controller.Falling) {
	if rt.member.Alone() {
		return nil
	}
	return func(f controller.Falling) {
		rt.member.Fall(cluster.Falling{Records: f.Records, Fallen: f.Fallen, Owners: f.Owners})
	}
}

// mail takes what another node tells.
func (rt *runtime) mail(from string, m cluster.Mail) {
	for _, hostname := range m.Heard {
		rt.controller.Passed(hostname, true)
	}
	for _, hostname := range m.Rumoured {
		rt.controller.Passed(hostname, false)
	}
	for _, q := range m.Ask {
		select {
		case rt.asked <- struct{}{}:
		default:
			rt.member.Reply(from, cluster.Answer{ID: q.ID, Error: "it is busy with the questions of others"})
			continue
		}
		rt.member.Reply(from, cluster.Answer{ID: q.ID, Taken: true})
		rt.run("answering node "+from, func(ctx context.Context) error {
			defer func() { <-rt.asked }()
			ctx, cancel := context.WithTimeout(ctx, askedWithin)
			defer cancel()
			a := cluster.Answer{ID: q.ID}
			value, err := rt.answer(ctx, q)
			if err == nil {
				a.Value, err = json.Marshal(value)
			}
			if err != nil {
				a.Error = err.Error()
			}
			rt.member.Reply(from, a)
			return nil
		})
	}
}

// answer does what another node asks.
func (rt *runtime) answer(ctx context.Context, q cluster.Question) (any, error) {
	switch q.Do {
	case askCheck:
		return nil, rt.checkHere(ctx, q.About)
	case askRelease:
		return rt.controller.ReleaseBrake(), nil
	case askReplay:
		return rt.replayHere(ctx, q.About)
	case askWebhooks:
		return rt.webhookStatus(), nil
	case askReport:
		return rt.report(), nil
	case askPlace:
		return rt.placeHere(q.About), nil
	}
	return nil, fmt.Errorf("this version does not know how to %.60q", q.Do)
}

// check has a record looked at now, by the node that looks at it: what is known of it is
// there. If that node does not answer, this one looks.
func (rt *runtime) check(ctx context.Context, name string) error {
	owner := ""
	if hostname, ok := rt.hostnameOf(ctx, name); ok {
		owner = rt.member.Owner(hostname)
	}
	if owner == "" || owner == rt.nodeName() {
		return rt.checkHere(ctx, name)
	}
	_, err := rt.member.Ask(ctx, owner, askCheck, name)
	remote := (*cluster.RemoteError)(nil)
	if errors.Is(err, cluster.ErrNoAnswer) || errors.As(err, &remote) {
		return rt.checkHere(ctx, name) // whose error names what is wrong
	}
	return err
}

// hostnameOf is the hostname of a record by its name; false: it cannot be told.
func (rt *runtime) hostnameOf(ctx context.Context, name string) (string, bool) {
	if rt.member.Alone() {
		return "", false
	}
	entry, _, err := rt.store.Get(ctx, hosts.Prefix+name)
	if err != nil {
		return "", false
	}
	var r struct {
		Spec struct {
			Name string `json:"name"`
		} `json:"spec"`
	}
	return r.Spec.Name, json.Unmarshal(entry.Value, &r) == nil && r.Spec.Name != ""
}

// releaseBrake ends the fleet brake's hold on every node, and returns what that did in
// all; nil: it holds on none.
func (rt *runtime) releaseBrake(ctx context.Context) *controller.BrakeRelease {
	sum := rt.controller.ReleaseBrake()
	rt.askOthers(ctx, askRelease, "", func(value json.RawMessage) error {
		var released *controller.BrakeRelease
		if err := json.Unmarshal(value, &released); err != nil || released == nil {
			return err
		}
		if sum == nil {
			sum = released
			return nil
		}
		if released.Since.Before(sum.Since) {
			sum.Since = released.Since
		}
		sum.Gone += released.Gone
		sum.Due += released.Due
		return nil
	})
	return sum
}

// askOthers asks all other live nodes the same, and hands each answer to take, one at a
// time. A node that cannot be asked is named in the log.
func (rt *runtime) askOthers(ctx context.Context, do, about string, take func(json.RawMessage) error) {
	var asking sync.WaitGroup
	var one sync.Mutex
	for _, n := range rt.member.Nodes() {
		if n.Name == rt.nodeName() {
			continue
		}
		asking.Go(func() {
			value, err := rt.member.Ask(ctx, n.Name, do, about)
			one.Lock()
			defer one.Unlock()
			if err == nil {
				err = take(value)
			}
			if err != nil {
				rt.logger.Error("another node could not be asked", zap.String("node", n.Name), zap.String("what", do), zap.Error(err))
			}
		})
	}
	asking.Wait()
}

// liveNodeNames are the names of the live nodes, sorted.
func (rt *runtime) liveNodeNames() (names []string) {
	for _, n := range rt.member.Nodes() {
		names = append(names, n.Name)
	}
	slices.Sort(names)
	return names
}
