package timeline

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// sweepPage is how many time lines are read at a time, and sweepPause the pause after
	// each page: a million take some minutes beside other work.
	sweepPage  = 500
	sweepPause = 100 * time.Millisecond
)

// Sweep removes the time lines of records that ended while nobody was there to hear of
// it, once. Lives must know all records by then.
func (r *Recorder) Sweep(ctx context.Context) error {
	o, swept := store.ListOptions{Limit: sweepPage, Uncounted: true}, 0
	for {
		page, err := r.cfg.Store.List(ctx, Prefix, o)
		if errors.Is(err, store.ErrUnavailable) {
			r.cfg.Logger.Warn("the time lines of ended records are removed at the next start: the store does not answer", zap.Error(err))
			return nil
		}
		if err != nil {
			return fmt.Errorf("listing time lines: %w", err)
		}
		n, err := r.sweep(ctx, page.KeyValues)
		if swept += n; err != nil {
			r.cfg.Logger.Warn("some time lines of ended records are removed at the next start", zap.Error(err))
		}
		if !page.More {
			if swept > 0 {
				r.cfg.Logger.Info("time lines of records that had ended were removed", zap.Int("records", swept))
			}
			return nil
		}
		o.After = page.KeyValues[len(page.KeyValues)-1].Key
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(sweepPause):
		}
	}
}

// sweep removes those of a page whose records have ended. Those that cannot be read stay:
// the look through the store names them.
func (r *Recorder) sweep(ctx context.Context, page []store.KeyValue) (n int, err error) {
	var ops []store.Op
	for _, kv := range page {
		l, err := decode(kv.Value)
		if kv.Err == nil && err == nil && r.cfg.Mine(l.Hostname) && !r.cfg.Lives(l.Hostname, strings.TrimPrefix(kv.Key, Prefix)) {
			ops = append(ops, store.Op{Key: kv.Key, If: store.Any})
		}
	}
	for len(ops) > 0 {
		some := ops[:min(len(ops), batchRecords)]
		if _, err := r.cfg.Store.Write(ctx, some...); err != nil {
			return n, fmt.Errorf("removing time lines: %w", err)
		}
		n, ops = n+len(some), ops[len(some):]
	}
	return n, nil
}
