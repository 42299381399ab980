package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Membership is what is kept of a node, live or gone.
type Membership struct {
	Name    string    `json:"name"`
	Version string    `json:"version,omitempty"`
	Joined  time.Time `json:"joined"`
}

// register notes that there is such a node, so that it is missed when it is gone.
func (m *Member) register(ctx context.Context, n Node) error {
	value, err := json.Marshal(Membership{Name: n.Name, Version: n.Version, Joined: time.Now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	_, err = m.cfg.Store.Write(ctx, store.Op{Key: MembersPrefix + n.Name, Value: value, If: store.Any})
	return err
}

// Members are all nodes that ever joined and were not removed, by name.
func (m *Member) Members(ctx context.Context) ([]Membership, error) {
	res, err := m.cfg.Store.List(ctx, MembersPrefix, store.ListOptions{})
	if err != nil {
		return nil, err
	}
	out := make([]Membership, 0, len(res.KeyValues))
	for _, kv := range res.KeyValues {
		n := Membership{Name: strings.TrimPrefix(kv.Key, MembersPrefix)}
		if kv.Err == nil {
			_ = json.Unmarshal(kv.Value, &n) // the name is known at least
		}
		out = append(out, n)
	}
	return out, nil
}

// Remove forgets a node that is gone for good. It reports false if it is live.
func (m *Member) Remove(ctx context.Context, name string) (bool, error) {
	_, err := m.cfg.Store.Write(ctx, store.Op{Key: NodesPrefix + name, If: store.Absent, Check: true}, store.Op{Key: MembersPrefix + name, If: store.Any})
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
		return false, nil
	}
	return err == nil, err
}
