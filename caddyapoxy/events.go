package caddyapoxy

import (
	"context"

	"github.com/apoxy-dev/caddy-apoxy/controller"
)

// eventBacklog bounds the changes that wait to be raised as events.
const eventBacklog = 8192

// emit has an event raised for a change of a record. It returns at once,
// whatever the operator's handlers do: those who call it keep the records.
func (rt *runtime) emit(t controller.Transition) {
	rt.offer(t)
	rt.remember(t)
	t.Record = nil // not ours to keep
	select {
	case rt.events <- t:
	default:
		if !rt.overflow.Swap(true) {
			rt.logger.Named("events").Error("events of changed records are lost: the handlers of Caddy's events app take longer than records change")
		}
	}
}

// raiseEvents raises the events in their order.
func (rt *runtime) raiseEvents(ctx context.Context) error {
	for {
		select {
		case t := <-rt.events:
			rt.raise(t)
			if len(rt.events) == 0 {
				rt.overflow.Store(false)
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// raise runs the handlers of the configuration in force.
func (rt *runtime) raise(t controller.Transition) {
	a := rt.apps.Current()
	if a == nil || a.events == nil {
		return
	}
	a.events.Emit(a.ctx, t.Event, map[string]any{
		"name": t.Name, "hostname": t.Hostname, "type": t.Type,
		"from": t.From, "to": t.To, "reason": t.Reason, "message": t.Message,
	})
}
