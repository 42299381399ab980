package etcdstore_test

import (
	"context"
	"fmt"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

func TestSessions(t *testing.T) {
	members := newCluster(t, 3)
	ways := map[store.Store][]*proxy{}
	storetest.RunSessions(t, storetest.Shared{
		Open: func(t *testing.T, space string) store.Store {
			o := etcdstore.Options{Prefix: fmt.Sprintf("/sessions/%s", space)}
			var way []*proxy
			for _, m := range members {
				p := newProxy(t, m)
				way, o.Endpoints = append(way, p), append(o.Endpoints, p.endpoint())
			}
			s := open(t, o)
			ways[s] = way
			return s
		},
		Cut: func(t *testing.T, s store.Store) (mend func()) {
			for _, p := range ways[s] {
				p.silence()
			}
			return func() {
				for _, p := range ways[s] {
					p.mend()
				}
			}
		},
		Faults: map[string]func(*testing.T) func(){
			"the leader hands over": func(t *testing.T) func() {
				moveLeader(t, members)
				return func() {}
			},
			"the leader is killed": func(t *testing.T) func() {
				m := members[leader(t, members)]
				m.kill()
				return m.start
			},
			"another member is silent": func(t *testing.T) func() {
				m := members[(leader(t, members)+1)%len(members)]
				m.pause()
				return m.resume
			},
		},
	})
}

// leader returns which member leads.
func leader(t *testing.T, members []*member) (index int) {
	t.Helper()
	for i, m := range members {
		m.raw(t, func(ctx context.Context, c *clientv3.Client) error {
			res, err := c.Status(ctx, m.endpoint)
			if err == nil && res.Header.MemberId == res.Leader {
				index = i
			}
			return err
		})
	}
	return index
}

func moveLeader(t *testing.T, members []*member) {
	t.Helper()
	at := leader(t, members)
	var next uint64
	members[(at+1)%len(members)].raw(t, func(ctx context.Context, c *clientv3.Client) error {
		res, err := c.Status(ctx, c.Endpoints()[0])
		if err == nil {
			next = res.Header.MemberId
		}
		return err
	})
	members[at].raw(t, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.MoveLeader(ctx, next)
		return err
	})
}

// With authentication, a user with readwrite below the prefix may do all that a store
// does.
func TestAUserOfThePrefixAlone(t *testing.T) {
	m := newMember(t)
	m.raw(t, func(ctx context.Context, c *clientv3.Client) error {
		for _, do := range []func() error{
			func() error { _, err := c.RoleAdd(ctx, "root"); return err },
			func() error { _, err := c.UserAdd(ctx, "root", "secret"); return err },
			func() error { _, err := c.UserGrantRole(ctx, "root", "root"); return err },
			func() error { _, err := c.RoleAdd(ctx, "apoxy"); return err },
			func() error {
				_, err := c.RoleGrantPermission(ctx, "apoxy", "/apoxy/", clientv3.GetPrefixRangeEnd("/apoxy/"), clientv3.PermissionType(clientv3.PermReadWrite))
				return err
			},
			func() error { _, err := c.UserAdd(ctx, "apoxy", "known"); return err },
			func() error { _, err := c.UserGrantRole(ctx, "apoxy", "apoxy"); return err },
			func() error { _, err := c.AuthEnable(ctx); return err },
		} {
			if err := do(); err != nil {
				return err
			}
		}
		return nil
	})
	spaces := 0
	storetest.RunSessions(t, storetest.Shared{Open: func(t *testing.T, space string) store.Store {
		spaces++
		return m.open(t, etcdstore.Options{Prefix: "/apoxy/" + space, Username: "apoxy", Password: "known"})
	}})
	if spaces == 0 {
		t.Error("nothing was tested")
	}
}
