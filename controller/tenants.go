package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// grounds is what the rule on tenants says of a record, and what that rests on.
type grounds struct {
	contest ownership.Contest
	// facts are conditions on the store: while they hold, so does contest.
	facts []store.Op
}

// Contest tells what the rule on tenants says of a new record, which takes the
// place of replaced if that is not nil.
func (c *Controller) Contest(ctx context.Context, r, replaced *v1alpha3.DomainRecord) (ownership.Contest, error) {
	k, err := c.grounds(ctx, r, replaced)
	return k.contest, err
}

// grounds gathers what the rule on tenants goes by, always from the store: what
// memory holds may be older than what it is to be written beside.
func (c *Controller) grounds(ctx context.Context, r, replaced *v1alpha3.DomainRecord) (grounds, error) {
	var k grounds
	in := ownership.Claim{Hostname: r.Spec.Name, Owner: r.Owner()}
	remembered, err := c.remembered(ctx, &k, r.Spec.Name)
	if err != nil {
		return k, err
	}
	in.Holder = ownership.LastHolder(r, ownership.LastHolder(replaced, remembered))
	neighbour := ownership.Neighbour(r.Spec.Name)
	if in.NeighbourHolder, err = c.remembered(ctx, &k, neighbour); err != nil {
		return k, err
	}
	if err = c.neighbour(ctx, &k, neighbour, &in); err != nil {
		return k, err
	}
	k.contest = in.Contest()
	return k, nil
}

// remembered reads who last held a hostname beyond its record's end, nil for
// nobody. What cannot be read is a holder whom nobody knows.
func (c *Controller) remembered(ctx context.Context, k *grounds, hostname string) (*ownership.Party, error) {
	entry, err := c.fact(ctx, k, ownership.ReleasedKey(hostname))
	switch {
	case errors.Is(err, store.ErrDamaged):
		return &ownership.Party{Unknown: true}, nil
	case err != nil || entry == nil:
		return nil, err
	}
	party, err := ownership.DecodeHolder(entry.Value)
	if err != nil {
		c.undecodable(entry, err)
	}
	return party, nil
}

// neighbour reads the record of the hostname that shares DNS names with a
// claim's. One that cannot be read is somebody else's.
func (c *Controller) neighbour(ctx context.Context, k *grounds, hostname string, in *ownership.Claim) error {
	name, err := c.fact(ctx, k, "hostnames/"+hostname)
	var entry *store.KeyValue
	if err == nil && name != nil {
		entry, err = c.fact(ctx, k, recordKey(string(name.Value)))
	}
	switch {
	case errors.Is(err, store.ErrDamaged):
		in.NeighbourRecord = &ownership.Party{Unknown: true}
		return nil
	case err != nil || entry == nil:
		return err
	}
	r := new(v1alpha3.DomainRecord)
	if err := json.Unmarshal(entry.Value, r); err != nil {
		c.undecodable(entry, err)
		in.NeighbourRecord = &ownership.Party{Unknown: true}
		return nil
	}
	in.NeighbourRecord = &ownership.Party{Owner: r.Owner()}
	in.NeighbourHolder = ownership.LastHolder(r, in.NeighbourHolder)
	return nil
}

// covered tells whether another owner is, or was, the last verified holder of a
// wildcard above r, which matters where addresses stand at its hostname, or the edge's
// stood there when last seen. What it goes by is a condition on the store, as in grounds.
func (c *Controller) covered(ctx context.Context, k *grounds, r *v1alpha3.DomainRecord, o *ownership.DNSObservation) (bool, error) {
	if r.Verified() || !r.WantsTLS() || len(o.Chain) > 0 || o.Outcome == ownership.Absent || v1alpha3.IsWildcard(r.Spec.Name) {
		return false, nil
	}
	if before := r.Status.Condition(v1alpha3.ConditionCNAMEConfigured); len(o.Addresses) == 0 &&
		(before == nil || before.Reason != v1alpha3.ReasonAddressConfigured) {
		return false, nil
	}
	wildcards, all := ownership.Covering(r.Spec.Name)
	for _, w := range wildcards {
		var in ownership.Claim
		var err error
		if in.NeighbourHolder, err = c.remembered(ctx, k, w); err != nil {
			return false, err
		}
		if err = c.neighbour(ctx, k, w, &in); err != nil {
			return false, err
		}
		if damaged := in.NeighbourRecord != nil && in.NeighbourRecord.Unknown; damaged || ownership.Covers(in.NeighbourHolder, r.Owner()) {
			return true, nil
		}
	}
	return !all, nil
}

// held returns what is written beside the status that verifies r: the facts, and
// r as the holder of its hostname.
func (k grounds) held(r *v1alpha3.DomainRecord, s *v1alpha3.DomainRecordStatus, now time.Time) ([]store.Op, error) {
	verified := *r
	verified.Status = *s
	holder := ownership.HolderOf(&verified, now)
	if holder == nil {
		return k.facts, nil
	}
	value, err := holder.Encode()
	if err != nil {
		return nil, err
	}
	op := store.Op{Key: ownership.ReleasedKey(r.Spec.Name), Value: value, If: store.Any}
	ops := []store.Op{op}
	for _, fact := range k.facts {
		if fact.Key == op.Key {
			ops[0].If = fact.If
			continue
		}
		ops = append(ops, fact)
	}
	return ops, nil
}

// undecodable tells the store, or else the log, of a value that does not decode.
func (c *Controller) undecodable(e *store.KeyValue, err error) {
	if !store.Report(c.cfg.Store, e.Key, e.Revision, err) {
		c.cfg.Logger.Error("what the rule on tenants goes by cannot be read, so a token is asked for", zap.String("key", e.Key), zap.Error(err))
	}
}

// fact reads a key, nil if it does not exist, and notes it as a condition. The
// error for a value that cannot be read wraps store.ErrDamaged; it is a condition
// all the same.
func (c *Controller) fact(ctx context.Context, k *grounds, key string) (*store.KeyValue, error) {
	entry, _, err := c.cfg.Store.Get(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		k.facts = append(k.facts, store.Op{Key: key, Check: true, If: store.Absent})
		return nil, nil
	case err == nil, errors.Is(err, store.ErrDamaged):
		k.facts = append(k.facts, store.Op{Key: key, Check: true, If: entry.Revision})
	}
	if err != nil {
		return nil, fmt.Errorf("reading %q for the rule on tenants: %w", key, err)
	}
	return &entry, nil
}
