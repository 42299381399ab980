package snapshot

import (
	"context"
	"errors"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// How long an engine may be out of reach in the midst of the work, such as for a change
// of leader, and the pause between two attempts.
const (
	patience      = 30 * time.Second
	patiencePause = 100 * time.Millisecond
)

// patiently calls do until the engine is available, for so long. After a write of which
// nobody knows whether it was written, unknown is true.
func patiently(ctx context.Context, do func(unknown bool) error) error {
	unknown := false
	for end := time.Now().Add(patience); ; {
		err := do(unknown)
		if !errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil || time.Now().After(end) {
			return err
		}
		var down *store.UnavailableError
		unknown = unknown || errors.As(err, &down) && down.Unknown
		select {
		case <-ctx.Done():
		case <-time.After(patiencePause):
		}
	}
}
