package controller

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// ReasonUnproven is the reason of a RecordDeleted whose record was never
// verified in the time that unproven_ttl gives it.
const ReasonUnproven = "Unproven"

// expiry is a deletion that the controller itself asked for because the record
// outlived a limit.
type expiry struct {
	uid types.UID
	ttl time.Duration
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
	c.expired.Store(r.Name, expiry{r.UID, s.UnprovenTTL})
	if err := c.cfg.Delete(ctx, r.Name, r.UID); err != nil {
		c.expired.Delete(r.Name)
		return fmt.Errorf("deleting record %q, which was never verified: %w", r.Name, err)
	}
	return nil
}
