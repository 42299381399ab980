package dnsprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// visibleTimeout bounds how long a written value may take to reach this
// process's own zone; the watch brings it in milliseconds.
const visibleTimeout = 30 * time.Second

// Update changes the RRset of one owner and type and returns once this process
// answers with it and, if any value is left, each of its peers does. The owner is
// relative to the zone, "@" for its own name. The change is handed the set without
// its expired values, empty if there is none, and may be called again if another
// writer was faster; leaving no values deletes the set. An error of the change is
// returned as it is.
func (r *RRSets) Update(ctx context.Context, owner, typ string, change func(*RRSet) error) error {
	revision, left, err := r.update(ctx, owner, typ, change)
	if err != nil || !left || r.peers == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, visibleTimeout)
	defer cancel()
	if err := r.peers.Confirm(ctx, revision); err != nil {
		return fmt.Errorf("putting %s %s into zone %s: %w", owner, typ, r.zone, err)
	}
	return nil
}

// update is Update without the peers. It returns the revision at which the set was last
// written, and whether any value is left.
func (r *RRSets) update(ctx context.Context, owner, typ string, change func(*RRSet) error) (revision int64, left bool, err error) {
	code, err := r.check(owner, typ)
	if err != nil {
		return 0, false, err
	}
	key := r.prefix + owner + "/" + typ
	for attempt := 0; ; attempt++ {
		revision, left, err := r.write(ctx, key, code, change)
		var conflict *store.ConflictError
		if errors.As(err, &conflict) {
			// Others are writing the same name: step aside a little longer each time.
			pause := time.Duration(1+rand.IntN(1<<min(attempt, 6))) * time.Millisecond
			select {
			case <-ctx.Done():
				return 0, false, fmt.Errorf("updating %s %s in zone %s: %w", owner, typ, r.zone, ctx.Err())
			case <-time.After(pause):
			}
			continue
		}
		if err != nil {
			return 0, false, err
		}
		ctx, cancel := context.WithTimeout(ctx, visibleTimeout)
		defer cancel()
		return revision, left, r.WaitRevision(ctx, revision)
	}
}

func (r *RRSets) check(owner, typ string) (uint16, error) {
	code, ok := dns.StringToType[typ]
	if !ok || code == dns.TypeSOA || code == dns.TypeNS || code >= 128 && code < 256 || code == dns.TypeOPT {
		return 0, fmt.Errorf("updating zone %s: type %q cannot be put into it", r.zone, cut(typ))
	}
	if owner == "@" {
		return code, nil
	}
	name, err := hostName(owner + "." + r.zone)
	if err != nil || name != owner+"."+r.zone {
		return 0, fmt.Errorf("updating zone %s: owner %q is no lower-case name below it", r.zone, cut(owner))
	}
	return code, nil
}

// write does one read-modify-write and returns the revision at which the set was last
// written, by it or before, and whether any value is left.
func (r *RRSets) write(ctx context.Context, key string, code uint16, change func(*RRSet) error) (revision int64, left bool, err error) {
	var set RRSet
	entry, _, err := r.store.Get(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		entry.Revision = store.Absent
	case errors.Is(err, store.ErrDamaged): // nothing is left of it to keep
		r.logger.Error("an RRset that is damaged in the store is begun anew", zap.String("key", cut(key)), zap.Error(err))
	case err != nil:
		return 0, false, fmt.Errorf("reading %s: %w", key, err)
	default:
		if err := json.Unmarshal(entry.Value, &set); err != nil {
			r.logger.Error("an RRset that cannot be read is begun anew", zap.String("key", cut(key)), zap.Error(err))
			set = RRSet{}
		}
	}
	now := time.Now()
	set.Values = slices.DeleteFunc(set.Values, func(v Value) bool { return v.Expires != nil && !now.Before(*v.Expires) })
	if err := change(&set); err != nil {
		return 0, false, err
	}
	op := store.Op{Key: key, If: entry.Revision}
	if len(set.Values) > 0 {
		if len(set.Values) > maxValues {
			return 0, false, fmt.Errorf("updating %s: %d values: want at most %d", key, len(set.Values), maxValues)
		}
		if code == dns.TypeCNAME && len(set.Values) > 1 {
			return 0, false, fmt.Errorf("updating %s: a name has one CNAME at the most (RFC 2181 section 10.1)", key)
		}
		if _, err := set.pack(code); err != nil {
			return 0, false, fmt.Errorf("updating %s: %w", key, err)
		}
		if op.Value, err = json.Marshal(set); err != nil {
			return 0, false, fmt.Errorf("updating %s: %w", key, err)
		}
	} else if entry.Revision == store.Absent {
		return store.FirstRevision, false, nil
	}
	if op.Value != nil && entry.Err == nil && string(op.Value) == string(entry.Value) {
		return entry.Revision, true, nil
	}
	revision, err = r.store.Write(ctx, op)
	if err != nil {
		return 0, false, fmt.Errorf("writing %s: %w", key, err)
	}
	return revision, len(set.Values) > 0, nil
}

// List calls f for every RRset in the store, with owner and type as Update takes
// them, but for those that cannot be read.
func (r *RRSets) List(ctx context.Context, f func(owner, typ string, set RRSet)) error {
	list, err := r.store.List(ctx, r.prefix, store.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing %s: %w", r.prefix, err)
	}
	for _, e := range list.KeyValues {
		owner, typ, ok := strings.Cut(strings.TrimPrefix(e.Key, r.prefix), "/")
		var set RRSet
		if e.Err != nil || !ok || json.Unmarshal(e.Value, &set) != nil {
			continue // the watch has logged it
		}
		f(owner, typ, set)
	}
	return nil
}

// sweepEvery removes expired values from the store, so that what a crash left
// behind does not stay.
func (r *RRSets) sweepEvery(ctx context.Context, every time.Duration) {
	// Every server of the zone sweeps; apart from one another they do not collide.
	timer := time.NewTimer(rand.N(every))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		r.sweep(ctx)
		timer.Reset(every)
	}
}

func (r *RRSets) sweep(ctx context.Context) {
	type key struct{ owner, typ string }
	var expired []key
	now := time.Now().Unix()
	r.each(func(owner string, n *node) {
		for _, set := range n.sets {
			if set.live(now) < len(set.rdata) {
				expired = append(expired, key{owner, dns.TypeToString[set.typ]})
			}
		}
	})
	for _, k := range expired {
		if _, _, err := r.update(ctx, k.owner, k.typ, func(*RRSet) error { return nil }); err != nil && ctx.Err() == nil {
			r.logger.Warn("removing expired values failed", zap.String("zone", r.zone),
				zap.String("owner", k.owner), zap.String("type", k.typ), zap.Error(err))
		}
	}
}

// packValue makes a record's data from its presentation form as libdns has it.
func packValue(typ uint16, data string) ([]byte, error) {
	name := dns.TypeToString[typ]
	if len(data) > maxValueSize {
		return nil, fmt.Errorf("%s value of %d octets: want at most %d", name, len(data), maxValueSize)
	}
	if !utf8.ValidString(data) { // the store keeps text
		return nil, fmt.Errorf("%s value %q: want UTF-8", name, cut(data))
	}
	if typ == dns.TypeTXT {
		return packText(data), nil
	}
	if data == "" || strings.ContainsAny(data, "\r\n\x00") {
		return nil, fmt.Errorf("%s value %q is none", name, cut(data))
	}
	rr, err := dns.NewRR(". 0 IN " + name + " " + data)
	if err != nil || rr == nil || rr.Header().Rrtype != typ {
		return nil, fmt.Errorf("%s value %q: want it in presentation form (RFC 1035 section 5)", name, cut(data))
	}
	return packRR(rr)
}

// packText cuts a text into character strings (RFC 1035 section 3.3.14).
func packText(text string) []byte {
	var out []byte
	for {
		n := min(len(text), 255)
		out = append(append(out, byte(n)), text[:n]...)
		if text = text[n:]; text == "" {
			return out
		}
	}
}

// record gives a stored value as libdns has it, typed where it has a type.
func record(owner, typ string, ttl uint32, data string) libdns.Record {
	rr := libdns.RR{Name: owner, TTL: time.Duration(ttl) * time.Second, Type: typ, Data: data}
	if typed, err := rr.Parse(); err == nil && typed.RR() == rr {
		return typed
	}
	return rr
}
