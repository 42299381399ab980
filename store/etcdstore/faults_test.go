package etcdstore_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/etcdstore"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

func TestWritesWhoseAnswersAreLost(t *testing.T) {
	members := newCluster(t, 3)
	var mu sync.Mutex
	ways := map[store.Store][]*proxy{}
	logs := map[store.Store]*observer.ObservedLogs{}
	each := func(do func(*proxy)) func(*testing.T, store.Store) []*proxy {
		return func(_ *testing.T, s store.Store) []*proxy {
			for _, p := range ways[s] {
				do(p)
			}
			return ways[s]
		}
	}
	one := func(do func(*proxy)) func(*testing.T, store.Store) []*proxy {
		return func(_ *testing.T, s store.Store) []*proxy {
			p := ways[s][rand.IntN(len(ways[s]))]
			do(p)
			return []*proxy{p}
		}
	}
	fault := func(begin func(*testing.T, store.Store) []*proxy, end func(*proxy)) func(*testing.T, store.Store) func() {
		return func(t *testing.T, s store.Store) func() {
			touched := begin(t, s)
			return func() {
				for _, p := range touched {
					end(p)
				}
			}
		}
	}
	storetest.RunFaults(t, storetest.Faulty{
		Open: func(t *testing.T, space string) store.Store {
			core, observed := observer.New(zap.WarnLevel)
			o := etcdstore.Options{Prefix: fmt.Sprintf("/faults/%s", space), Logger: zap.New(core), RequestTimeout: time.Second}
			var way []*proxy
			for _, m := range members {
				p := newProxy(t, m)
				way, o.Endpoints = append(way, p), append(o.Endpoints, p.endpoint())
			}
			s := open(t, o)
			mu.Lock()
			defer mu.Unlock()
			ways[s], logs[s] = way, observed
			return s
		},
		Faults: map[string]func(*testing.T, store.Store) func(){
			"one member's answers are lost":  fault(one((*proxy).lose), (*proxy).mend),
			"all answers are lost":           fault(each((*proxy).lose), (*proxy).mend),
			"what is sent to one comes late": fault(one((*proxy).silence), (*proxy).late),
			"what is sent to all comes late": fault(each((*proxy).silence), (*proxy).late),
			"what is sent is lost":           fault(each((*proxy).silence), (*proxy).mend),
			"what is sent to one comes after all is over": func(t *testing.T, s store.Store) func() {
				way := ways[s]
				for _, p := range way {
					p.silence()
				}
				return func() {
					for _, p := range way[1:] {
						p.mend()
					}
					until(t, "the store to work", func() bool {
						_, _, err := s.Get(t.Context(), "any")
						return !errors.Is(err, store.ErrUnavailable)
					})
					way[0].late()
				}
			},
			"the leader is silent": func(t *testing.T, _ store.Store) func() {
				m := members[leader(t, members)]
				m.pause()
				return m.resume
			},
			"all connections break": fault(each((*proxy).drop), func(*proxy) {}),
		},
		Reported: func(s store.Store, key string) bool {
			mu.Lock()
			defer mu.Unlock()
			return logs[s].FilterField(zap.String("key", key)).Len() > 0
		},
	})
}
