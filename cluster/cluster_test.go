package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

// node is a member with a connection to etcd of its own.
type node struct {
	*Member
	store  store.Store
	stop   func() // ends Run, as a shutdown does
	mu     sync.Mutex
	moved  int
	heard  []Mail
	behind chan struct{} // nil: the zone catches up at once; else it does when it is closed
}

// settings of a node.
type settings struct {
	name, instance string
	behind         chan struct{}
}

func join(t *testing.T, endpoint string, s settings) *node {
	t.Helper()
	st, err := etcdstore.Open(etcdstore.Options{Endpoints: []string{endpoint}})
	if err != nil {
		t.Fatal(err)
	}
	if s.instance == "" {
		s.instance = s.name
	}
	n := &node{store: st, behind: s.behind}
	n.Member = New(Config{Store: st, Name: func() string { return s.name }, Instance: s.instance, TTL: 2 * time.Second,
		OnShares: func() { n.mu.Lock(); defer n.mu.Unlock(); n.moved++ },
		OnMail:   func(_ string, m Mail) { n.mu.Lock(); defer n.mu.Unlock(); n.heard = append(n.heard, m) },
		CaughtUp: func(ctx context.Context, _ int64) error {
			if n.behind == nil {
				return nil
			}
			select {
			case <-n.behind:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	n.stop = func() { cancel(); running.Wait() }
	t.Cleanup(func() { n.stop(); st.Close() })
	n.Work()
	return n
}

// crash ends everything of the node without a word to etcd.
func (n *node) crash() { _ = n.store.Close() }

func eventually(t *testing.T, what string, ok func() bool, say func() string) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waiting for %s: %s", what, say())
		}
	}
}

// sees waits until a node shares work with exactly these.
func (n *node) sees(t *testing.T, names ...string) {
	t.Helper()
	shares := func() []string {
		if s := n.shares.Load(); s != nil {
			return *s
		}
		return nil
	}
	eventually(t, fmt.Sprintf("%s to share with %v", n.Name(), names), func() bool { return n.Live() && slices.Equal(shares(), names) },
		func() string { return fmt.Sprint(n.Live(), shares()) })
}

func TestNodesComeAndGo(t *testing.T) {
	etcd := etcdtest.Start(t)
	a, b, c := join(t, etcd, settings{name: "a"}), join(t, etcd, settings{name: "b"}), join(t, etcd, settings{name: "c"})
	nodes := []*node{a, b, c}
	for _, n := range nodes {
		n.sees(t, "a", "b", "c")
	}
	for i := range 100 {
		key, owners := fmt.Sprint("h", i), 0
		for _, n := range nodes {
			if n.Mine(key) {
				owners++
			}
		}
		if owners != 1 {
			t.Errorf("%s is worked on by %d nodes", key, owners)
		}
	}
	b.crash()
	a.sees(t, "a", "c")
	c.sees(t, "a", "c")
	if b.Live() {
		t.Error("the one that crashed takes itself for live after others saw it gone")
	}
	if !b.Mine(keyOf("b", "a", "b", "c")) {
		t.Error("what was b's is not taken for its own while it is not live: it would change hands twice")
	}
	c.stop() // gives its lease back
	a.sees(t, "a")
	members, err := a.Members(t.Context())
	if err != nil || len(members) != 3 {
		t.Errorf("members %v, %v", members, err)
	}
	if forgotten, err := a.Remove(t.Context(), "a"); forgotten || err != nil {
		t.Errorf("a live node is forgotten: %v", err)
	}
	if forgotten, err := a.Remove(t.Context(), "b"); !forgotten || err != nil {
		t.Errorf("a node that is gone is not forgotten: %v", err)
	}
	if members, _ = a.Members(t.Context()); len(members) != 2 {
		t.Errorf("members %v", members)
	}
}

// keyOf returns a key that is owner's among the nodes.
func keyOf(owner string, nodes ...string) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("key", i); Share(nodes, key) == owner {
			return key
		}
	}
}

func TestARestartedNodeTakesItsPlaceAtOnce(t *testing.T) {
	etcd := etcdtest.Start(t)
	long := time.Hour
	first := join(t, etcd, settings{name: "a"})
	first.sees(t, "a")
	// A lease that would last: only sending it away can be at once.
	s, err := store.SessionsOf(first.store).Begin(t.Context(), long)
	if err != nil {
		t.Fatal(err)
	}
	first.stop()
	value, _ := json.Marshal(Node{Name: "a", Instance: "a", Process: "former", Session: s.ID()})
	if _, err := s.Write(t.Context(), store.Op{Key: NodesPrefix + "a", Value: value, If: store.Absent},
		store.Op{Key: "locks/x", Value: []byte("a"), If: store.Absent}); err != nil {
		t.Fatal(err)
	}
	first.crash()
	second := join(t, etcd, settings{name: "a"})
	second.sees(t, "a")
	if _, _, err := second.store.Get(t.Context(), "locks/x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("what its former process held: %v", err)
	}
}

// Two machines that are given one name: who came first stays, and the other says so.
func TestANameIsTakenOnce(t *testing.T) {
	etcd := etcdtest.Start(t)
	first := join(t, etcd, settings{name: "a", instance: "one"})
	first.sees(t, "a")
	second := join(t, etcd, settings{name: "a", instance: "two"})
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := second.WaitJoined(ctx); err == nil {
		t.Fatal("both are node a")
	}
	if !first.Live() {
		t.Fatal("the newcomer has driven the first away")
	}
	first.stop()
	second.sees(t, "a")
}

// Of two processes of one installation the later stays: the earlier does not take the
// place back, and the later's again.
func TestTheLaterProcessOfAnInstallationStays(t *testing.T) {
	etcd := etcdtest.Start(t)
	first := join(t, etcd, settings{name: "a"})
	first.sees(t, "a")
	second := join(t, etcd, settings{name: "a"})
	eventually(t, "the later to be live, and the earlier not", func() bool { return second.Live() && !first.Live() }, func() string { return "" })
	session, err := second.Session()
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-session.Ended():
		t.Error("the earlier has taken its place back")
	case <-time.After(3 * time.Second): // it tries several times meanwhile
	}
}

func TestWhatIsConfirmedIsKnownToAll(t *testing.T) {
	etcd := etcdtest.Start(t)
	a, b := join(t, etcd, settings{name: "a"}), join(t, etcd, settings{name: "b"})
	a.sees(t, "a", "b")
	b.sees(t, "a", "b")
	revision, err := a.store.Write(t.Context(), store.Op{Key: "x", Value: []byte("1"), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	confirmed := make(chan error, 1)
	go func() { confirmed <- a.Confirm(t.Context(), revision) }()
	eventually(t, "a to have read that far", func() bool { return a.progress.Revision() >= revision }, func() string { return "" })
	select {
	case err := <-confirmed:
		t.Fatalf("it is confirmed before b knows of it: %v", err)
	default:
	}
	a.Member.mu.Lock()
	if waitsFor := a.Member.behind(revision); !slices.Equal(waitsFor, []string{"b"}) {
		t.Errorf("it waits for %v", waitsFor)
	}
	a.Member.mu.Unlock()
	b.Acknowledge(revision)
	if err := <-confirmed; err != nil {
		t.Fatal(err)
	}

	// A node that does not confirm is named; one that goes is waited for no longer.
	if revision, err = a.store.Write(t.Context(), store.Op{Key: "x", Value: []byte("2"), If: store.Any}); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := a.Confirm(short, revision); err == nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	go func() { confirmed <- a.Confirm(t.Context(), revision) }()
	b.crash()
	if err := <-confirmed; err != nil {
		t.Fatal(err)
	}
	a.crash()
	eventually(t, "a not to be live", func() bool { return !a.Live() }, func() string { return "" })
	if err := a.Confirm(t.Context(), revision); !errors.Is(err, ErrNotLive) {
		t.Errorf("who is not live confirms: %v", err)
	}
}

// A node that comes has not heard of what is confirmed already: it is not live before it
// has, and is waited for by what comes after.
func TestANodeIsNotLiveBeforeItHasCaughtUp(t *testing.T) {
	etcd := etcdtest.Start(t)
	a := join(t, etcd, settings{name: "a"})
	a.sees(t, "a")
	behind := make(chan struct{})
	b := join(t, etcd, settings{name: "b", behind: behind})
	eventually(t, "a to see b", func() bool { return len(a.Nodes()) == 2 }, func() string { return fmt.Sprint(a.Nodes()) })
	revision, err := a.store.Write(t.Context(), store.Op{Key: "x", Value: []byte("1"), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := a.Confirm(short, revision); err == nil {
		t.Error("it is confirmed although b answers soon and does not know of it")
	}
	if b.Live() {
		t.Error("b is live and has not caught up")
	}
	close(behind)
	b.sees(t, "a", "b")
	a.sees(t, "a", "b")
	b.Acknowledge(revision)
	if err := a.Confirm(t.Context(), revision); err != nil {
		t.Error(err)
	}
}

func TestNodesTellEachOther(t *testing.T) {
	etcd := etcdtest.Start(t)
	a, b := join(t, etcd, settings{name: "a"}), join(t, etcd, settings{name: "b"})
	a.sees(t, "a", "b")
	b.sees(t, "a", "b")
	theirs, own := keyOf("b", "a", "b"), keyOf("a", "a", "b")
	if a.Hint(own, true) {
		t.Error("what is its own is passed on")
	}
	for range 100 { // coalesced
		if !a.Hint(theirs, false) || !a.Hint(theirs, true) {
			t.Fatal("what is b's is not passed on")
		}
	}
	var heard, rumoured int
	count := func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		heard, rumoured = 0, 0
		for _, m := range b.heard {
			heard += len(m.Heard)
			rumoured += len(m.Rumoured)
		}
		return heard > 0
	}
	eventually(t, "b to hear", count, func() string { return "nothing" })
	if heard > 5 || rumoured > 5 {
		t.Errorf("200 hints of one hostname come as %d and %d", heard, rumoured)
	}

	go func() {
		var q Question
		eventually(t, "the question", func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, m := range b.heard {
				if len(m.Ask) > 0 {
					q = m.Ask[0]
				}
			}
			return q.ID != ""
		}, func() string { return "" })
		b.Reply("a", Answer{ID: q.ID, Taken: true})
		b.Reply("a", Answer{ID: q.ID, Value: json.RawMessage(`"` + q.Do + q.About + `"`)})
	}()
	if value, err := a.Ask(t.Context(), "b", "look", "x"); err != nil || string(value) != `"lookx"` {
		t.Errorf("%s, %v", value, err)
	}
	if _, err := a.Ask(t.Context(), "nobody", "look", "x"); !errors.Is(err, ErrNoAnswer) {
		t.Errorf("who is not there: %v", err)
	}
}

func TestNodesCountWhatFalls(t *testing.T) {
	etcd := etcdtest.Start(t)
	a, b := join(t, etcd, settings{name: "a"}), join(t, etcd, settings{name: "b"})
	a.sees(t, "a", "b")
	b.Fall(Falling{Records: 7, Fallen: 2, Owners: []uint64{1, 2}})
	eventually(t, "a to know", func() bool { return a.Falling().Records == 7 }, func() string { return fmt.Sprint(a.Falling()) })
	if f := b.Falling(); f.Records != 0 {
		t.Errorf("b counts its own twice: %v", f)
	}
	b.stop()
	eventually(t, "a to forget", func() bool { return a.Falling().Records == 0 }, func() string { return fmt.Sprint(a.Falling()) })
}

// What anybody can cause takes the place of nothing else, and costs the store little.
func TestAFloodOfHintsLeavesRoom(t *testing.T) {
	etcd := etcdtest.Start(t)
	a, b := join(t, etcd, settings{name: "a"}), join(t, etcd, settings{name: "b"})
	a.sees(t, "a", "b")
	b.sees(t, "a", "b")
	flood := func() {
		for i := range 20_000 {
			a.Hint(fmt.Sprint("flood", i), false)
		}
	}
	flood()
	proven := keyOf("b", "a", "b")
	a.Hint(proven, true)
	answered := make(chan error, 1)
	go func() {
		_, err := a.Ask(t.Context(), "b", "look", "x")
		answered <- err
	}()
	var q Question
	var heard bool
	rumoured := 0
	eventually(t, "the question and what was proven", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		rumoured = 0
		for _, m := range b.heard {
			rumoured += len(m.Rumoured)
			heard = heard || slices.Contains(m.Heard, proven)
			if len(m.Ask) > 0 {
				q = m.Ask[0]
			}
		}
		return heard && q.ID != ""
	}, func() string { return fmt.Sprint(heard, q, rumoured) })
	flood()
	b.Reply("a", Answer{ID: q.ID})
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if rumoured > 10*hintRate {
		t.Errorf("of 20000 rumours %d are passed on", rumoured)
	}
}
