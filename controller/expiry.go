package controller

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// ReasonUnproven is the reason of a RecordDeleted whose record was never
// verified in the time that unproven_ttl gives it.
const ReasonUnproven = "Unproven"

// expiries are the deletions that the controller itself has asked for and not
// yet heard of.
type expiries struct {
	mu sync.Mutex
	of map[string]expiry // by record name
}

type expiry struct {
	uid types.UID
	ttl time.Duration
}

func (x *expiries) put(name string, e expiry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.of == nil {
		x.of = make(map[string]expiry)
	}
	x.of[name] = e
}

// take returns the limit that a record outlived, if that is why it was deleted.
func (x *expiries) take(name string, uid types.UID) (time.Duration, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	e, ok := x.of[name]
	delete(x.of, name)
	return e.ttl, ok && e.uid == uid
}

// expire deletes a record that was never verified for longer than unproven_ttl.
// A record that is verified in the same moment stays: whoever deletes decides
// that in the write.
func (c *Controller) expire(ctx context.Context, r *v1alpha3.DomainRecord) error {
	s := c.cfg.Settings()
	at := ownership.Expires(r, s)
	if at.IsZero() || c.cfg.Now().Before(at) || c.cfg.Delete == nil {
		return nil
	}
	c.expired.put(r.Name, expiry{r.UID, s.UnprovenTTL})
	if err := c.cfg.Delete(ctx, r.Name, r.UID); err != nil {
		c.expired.take(r.Name, r.UID)
		return fmt.Errorf("deleting record %q, which was never verified: %w", r.Name, err)
	}
	return nil
}
