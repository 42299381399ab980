package webhook

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// intakeBatch bounds the events that are taken in together. Of one write,
	// writeOps bounds the entries and intakeBytes, unless it is one alone, their size.
	intakeBatch = 100
	writeOps    = 50
	intakeBytes = 512 << 10
	// lastWrites bounds what is still written when the Sender ends.
	lastWrites = 3 * time.Second
)

// takeIn puts the events that are offered into the store. When the context ends it
// takes in what was offered before.
func (s *Sender) takeIn(ctx context.Context) {
	for {
		select {
		case e := <-s.offered:
			s.take(ctx, e)
			if len(s.offered) == 0 {
				s.overflow.Store(false)
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWrites)
			defer cancel()
			for len(s.offered) > 0 && ctx.Err() == nil {
				s.take(ctx, <-s.offered)
			}
			return
		}
	}
}

// fresh is an entry that is not in the store yet.
type fresh struct {
	endpoint, id string
	once         bool // another node may have queued it
	entry        entry
	value        []byte
}

// take writes an event, and those that wait behind it, at once.
func (s *Sender) take(ctx context.Context, e Event) {
	batch, size, keys := []fresh(nil), 0, map[string]bool{}
	for n := 1; ; n++ {
		for _, f := range s.entries(ctx, e) {
			if key := queueKey(f.endpoint, f.id); !keys[key] {
				keys[key] = true
				batch, size = append(batch, f), size+len(f.value)
			}
		}
		if n == intakeBatch || size >= intakeBytes || len(s.offered) == 0 {
			break
		}
		e = <-s.offered // there is one, and nobody else takes it
	}
	for len(batch) > 0 {
		n, size := 0, 0
		for n < len(batch) && n < writeOps && (n == 0 || size+len(batch[n].value) <= intakeBytes) {
			size += len(batch[n].value)
			n++
		}
		s.keep(ctx, batch[:n:n])
		batch = batch[n:]
	}
}

// keep stores entries and takes them into their lines.
func (s *Sender) keep(ctx context.Context, batch []fresh) {
	for len(batch) > 0 {
		ops := make([]store.Op, len(batch))
		for i, f := range batch {
			ops[i] = store.Op{Key: queueKey(f.endpoint, f.id), Value: f.value, If: store.Absent}
		}
		unknown := false // an earlier try may have been written after all
		err := s.patiently(ctx, func() error {
			_, err := s.cfg.Store.Write(ctx, ops...)
			if u := (*store.UnavailableError)(nil); errors.As(err, &u) && u.Unknown {
				unknown = true
			}
			return err
		})
		if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
			switch {
			case unknown && len(batch) > 1:
				for i := range batch {
					s.keep(ctx, batch[i:i+1:i+1])
				}
				return
			case unknown || len(batch) == 1 && !batch[0].once: // it is our own
				s.queued(ctx, batch)
				return
			}
			// It is there, of another node.
			batch = slices.DeleteFunc(batch, func(f fresh) bool { return queueKey(f.endpoint, f.id) == conflict.Key })
			continue
		}
		if err != nil {
			count(countDropped, len(batch))
			s.log.Error("events are lost to webhooks: they could not be stored", zap.Int("deliveries", len(batch)), zap.Error(err))
			return
		}
		s.queued(ctx, batch)
		return
	}
}

// entries are what the endpoints that want an event are to get.
func (s *Sender) entries(ctx context.Context, e Event) (out []fresh) {
	id, text := e.id(), ""
	for _, endpoint := range s.cfg.Endpoints() {
		if !endpoint.wants(e.Type) {
			continue
		}
		key := endpoint.key()
		s.mu.Lock()
		l := s.line(key)
		gone, known := !l.state.Gone.IsZero(), e.Once != "" && l.has(id)
		s.mu.Unlock()
		if gone {
			count(countSkipped, 1)
			continue
		}
		if known {
			continue
		}
		if text == "" {
			text = s.complete(ctx, e).encode()
		}
		n := entry{Event: e.Type, Record: e.Name, Queued: s.tick(), Node: s.cfg.Node(), Body: text}
		out = append(out, fresh{key, id, e.Once != "", n, encode(n)})
	}
	return out
}

// tick is now, and later than at any call before, so that entries have an order.
func (s *Sender) tick() time.Time {
	now := s.cfg.Now().UTC().Round(0)
	if !now.After(s.last) {
		now = s.last.Add(1)
	}
	s.last = now
	return now
}

// complete adds the record if the event came without it.
func (s *Sender) complete(ctx context.Context, e Event) Event {
	if e.Record == nil && e.Name != "" && s.cfg.Record != nil {
		record, err := s.cfg.Record(ctx, e.Name)
		if err != nil {
			s.log.Warn("a webhook tells of a record without it: it could not be read", zap.String("name", e.Name), zap.Error(err))
		}
		e.Record = record
	}
	return e
}

// queued takes stored entries into their lines, and drops what is too much there.
func (s *Sender) queued(ctx context.Context, batch []fresh) {
	var surplus []store.Op
	s.mu.Lock()
	for _, f := range batch {
		l := s.line(f.endpoint)
		l.add(f.entry.item(f.id))
		for _, it := range l.surplus() {
			l.remove(it)
			surplus = append(surplus, store.Op{Key: queueKey(f.endpoint, it.id), If: store.Any})
		}
	}
	s.measure()
	s.mu.Unlock()
	s.rouse()
	s.drop(ctx, surplus)
}

// drop deletes entries that are more than an endpoint may have.
func (s *Sender) drop(ctx context.Context, surplus []store.Op) {
	if len(surplus) == 0 {
		return
	}
	count(countDropped, len(surplus))
	if !s.full.Swap(true) {
		s.log.Error("the oldest webhook deliveries are dropped: an endpoint has not taken any for too long (see caddy apoxy webhook list)",
			zap.Int("most", MaxWaiting))
	}
	for ops := range slices.Chunk(surplus, writeOps) {
		if err := s.write(ctx, ops...); err != nil {
			s.log.Warn("dropped webhook deliveries are still in the store, and come back with the next start", zap.Error(err))
			return
		}
	}
}
