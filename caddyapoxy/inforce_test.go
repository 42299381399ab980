package caddyapoxy

import (
	"encoding/json"
	"testing"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func TestWhatTheAPIShowsIsInForce(t *testing.T) {
	const host = "api.example.com"
	rt := openTestRuntime(t, zap.NewNop())
	a := &App{logger: zap.NewNop(), settings: ownership.Settings{Zone: ownership.Zone{Name: "cname.example.net"}}}
	rt.apps.Push(a)
	st := inForce{rt.store, rt.table, &rt.since}
	w, err := st.Watch(t.Context(), hosts.Prefix, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx := t.Context()
	go func() { _ = hosts.Follow(ctx, rt.store, hosts.Follower{Table: rt.table}) }()
	for i := range 200 {
		r := new(v1alpha3.DomainRecord)
		r.Name, r.Generation, r.Spec.Name = host, int64(i+1), host
		value, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		revision, err := rt.store.Write(ctx, store.Op{Key: hosts.Prefix + host, Value: value, If: store.Any})
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			_, _, err = st.Get(ctx, hosts.Prefix+host)
		case 1:
			_, err = st.List(ctx, hosts.Prefix, store.ListOptions{})
		case 2:
			for seen := int64(0); seen < revision && err == nil; {
				var b store.Batch
				b, err = w.Next(ctx)
				seen = b.Revision
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if h, ok := rt.table.Get(host); !ok || h.Revision < revision {
			t.Fatalf("revision %d was shown while the table had %+v", revision, h)
		}
	}
}
