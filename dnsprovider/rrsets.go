package dnsprovider

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/miekg/dns"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Bounds of one RRset in the store.
const (
	maxValues    = 64
	maxValueSize = 4096
)

// sweepInterval is how often expired values are removed from the store. They
// are not answered any more from the second they expire.
const sweepInterval = time.Minute

// RRSet is an RRset as the store keeps it, at rrsets/ZONE/OWNER/TYPE.
type RRSet struct {
	// TTL in seconds.
	TTL uint32 `json:"ttl"`
	// Values of the records, at most 64.
	Values []Value `json:"values"`
}

// Value is one record of an RRSet.
type Value struct {
	// Data in the presentation form of libdns: a TXT's text is not quoted.
	Data string `json:"data"`
	// Expires is when the value is no longer answered. Nil: never.
	Expires *time.Time `json:"expires,omitempty"`
}

// RRSets are the RRsets that were put into a zone, kept in a store that every
// server of the zone shares and held in memory for queries.
type RRSets struct {
	store  store.Store
	zone   string
	prefix string
	logger *zap.Logger
	*rrIndex

	progress store.Progress // up to where memory holds what the store does
	peers    Peers          // nil: there are none
}

// Peers are the other servers of the zone, each with its own memory of the store.
type Peers interface {
	// Acknowledge tells them that this server answers from the store's state at a
	// revision, or a later one. It returns at once.
	Acknowledge(revision int64)
	// Confirm returns once each of them that may be asked has acknowledged a revision. An
	// error says which has not.
	Confirm(ctx context.Context, revision int64) error
}

// SharedWith has every value that is put into the zone confirmed by all peers before
// Update returns. It must be called before Run.
func (r *RRSets) SharedWith(p Peers) { r.peers = p }

// NewRRSets keeps the RRsets of the zone of that name in st. They are answered
// once Run has read them. The logger may be nil.
func NewRRSets(st store.Store, zone string, logger *zap.Logger) (*RRSets, error) {
	name, err := hostName(zone)
	if err != nil {
		return nil, fmt.Errorf("zone %s: %w", zone, err)
	}
	if logger == nil {
		logger = zap.NewNop()
	}
	return &RRSets{store: st, zone: name, prefix: RRSetsPrefix + name + "/", logger: logger,
		rrIndex: newIndex()}, nil
}

// Zone is the name of the zone: lower case, no final dot.
func (r *RRSets) Zone() string { return r.zone }

// Run follows the store until the context ends or the store is closed, whose
// error it returns. Other errors of the store are logged and tried again.
func (r *RRSets) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	swept := make(chan struct{})
	go func() {
		defer close(swept)
		r.sweepEvery(ctx, sweepInterval)
	}()
	defer func() { cancel(); <-swept }()
	var gone map[string]bool // what queries are answered from and the store has shown no more
	added := false           // something was since Reached was called last
	return store.Follow(ctx, r.store, store.Follower{
		Prefix: r.prefix,
		Begin:  func() { gone = r.keys() },
		Page: func(entries []store.KeyValue) {
			for i := range entries {
				e := &entries[i]
				delete(gone, e.Key)
				r.take(e.Key, e.Value, e.Revision, e.Err)
			}
		},
		End: func(int64) {
			for key := range gone {
				r.take(key, nil, 0, nil)
			}
			gone, added = nil, true // what came meanwhile was on a page
		},
		Change: func(e *store.Event) {
			added = added || e.Value != nil
			r.take(e.Key, e.Value, e.Revision, e.Err)
		},
		Reached: func(revision int64) {
			r.progress.Reach(revision)
			if added && r.peers != nil {
				r.peers.Acknowledge(revision)
			}
			added = false
		},
		Failed: func(err error) {
			r.logger.Warn("following RRsets in the store failed and is tried again", zap.String("zone", r.zone), zap.Error(err))
		},
	})
}

// keys are the store's keys of what is held in memory.
func (r *RRSets) keys() map[string]bool {
	keys := map[string]bool{}
	r.each(func(owner string, n *node) {
		for _, set := range n.sets {
			keys[r.prefix+owner+"/"+dns.TypeToString[set.typ]] = true
		}
	})
	return keys
}

// take takes a key's new value, nil if it was deleted, into memory. One that is
// damaged or no RRset is logged, and what was answered before stays.
func (r *RRSets) take(key string, value []byte, revision int64, damaged error) {
	owner, typ, err := splitKey(strings.TrimPrefix(key, r.prefix))
	if err != nil {
		r.logger.Warn("the store holds a key that is no RRset's; ignoring it", zap.String("key", cut(key)))
		return
	}
	var set *rrset
	if err = damaged; err == nil && value != nil {
		set, err = decodeSet(typ, value)
	}
	if err != nil {
		if !store.Report(r.store, key, revision, err) {
			r.logger.Error("the store holds an RRset that cannot be answered; ignoring it",
				zap.String("key", cut(key)), zap.Error(err))
		}
		return
	}
	r.put(owner, typ, set)
}

// splitKey takes OWNER/TYPE apart.
func splitKey(rest string) (owner string, typ uint16, err error) {
	owner, name, ok := strings.Cut(rest, "/")
	typ, known := dns.StringToType[name]
	if !ok || !known {
		return "", 0, errors.New("its key does not end in an owner and a record type")
	}
	return owner, typ, nil
}

func decodeSet(typ uint16, value []byte) (*rrset, error) {
	var kept RRSet
	if err := json.Unmarshal(value, &kept); err != nil {
		return nil, err
	}
	return kept.pack(typ)
}

// RRSetsPrefix, followed by ZONE/OWNER/TYPE, is where RRsets are kept.
const RRSetsPrefix = "rrsets/"

// CheckRRSet says why the value at a key below RRSetsPrefix is no RRset; nil: it
// is one.
func CheckRRSet(key string, value []byte) error {
	_, rest, _ := strings.Cut(strings.TrimPrefix(key, RRSetsPrefix), "/")
	_, typ, err := splitKey(rest)
	if err == nil {
		_, err = decodeSet(typ, value)
	}
	return err
}

// pack makes the set as queries read it; nil if it has no values.
func (s *RRSet) pack(typ uint16) (*rrset, error) {
	if len(s.Values) == 0 {
		return nil, nil
	}
	out := &rrset{typ: typ, ttl: s.TTL}
	for _, v := range s.Values {
		data, err := packValue(typ, v.Data)
		if err != nil {
			return nil, err
		}
		out.rdata = append(out.rdata, data)
		until := int64(0)
		if v.Expires != nil {
			until = max(v.Expires.Unix(), 1) // 0 is never
		}
		out.expires = append(out.expires, until)
	}
	for _, t := range out.expires {
		if t != 0 {
			return out, nil
		}
	}
	out.expires = nil
	return out, nil
}

// WaitRevision returns once queries are answered from the store's state at that
// revision or a later one; 0 waits for the first read.
func (r *RRSets) WaitRevision(ctx context.Context, revision int64) error {
	if err := r.progress.WaitRevision(ctx, revision); err != nil {
		return fmt.Errorf("zone %s: %w", r.zone, err)
	}
	return nil
}

// cut bounds what is logged of a foreign string.
func cut(s string) string {
	if len(s) > 300 {
		return s[:300] + "…"
	}
	return s
}
