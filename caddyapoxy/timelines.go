package caddyapoxy

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/timeline"
)

// This file says which events a record's time line has. Each is raised by one node.

// What time lines tell of, beside conditions.
const (
	ofPhase       = "Phase"
	ofCertificate = "Certificate"
)

func (rt *runtime) newTimelines(logger *zap.Logger) *timeline.Recorder {
	return timeline.New(timeline.Config{
		Store: rt.store, Lives: rt.isRecord,
		Mine:   func(hostname string) bool { return rt.member.Mine(hostname) },
		Logger: logger.Named("timeline"),
	})
}

// isRecord reports whether there is a record of a hostname with a uid.
func (rt *runtime) isRecord(hostname, uid string) bool {
	h, ok := rt.table.Get(hostname)
	return ok && h.IsUID(uid)
}

// remember has a change written into the time line of its record.
func (rt *runtime) remember(t controller.Transition) {
	ended := t.Event == controller.EventRecordDeleted
	e, ok := timelineEvent(t)
	if !ok && !ended {
		return
	}
	uid, created := "", time.Time{}
	if t.Record != nil {
		uid, created = string(t.Record.UID), t.Record.CreationTimestamp.Time
	} else if h, ok := rt.table.Get(t.Hostname); ok && h.Name() == t.Name && !ended {
		uid = h.UID()
	}
	switch {
	case !ended:
		rt.timelines.Offer(uid, t.Hostname, created, e)
	case rt.member.Mine(t.Hostname): // all nodes hear of it
		rt.timelines.End(uid)
	}
}

// timelineEvent is a change as a time line has it; false: it has no place there. The health
// of targets and what follows from it is left out, for it is not the record's: a backend
// that fails would be written into all records at once. So is what a new record is not yet.
func timelineEvent(t controller.Transition) (e timeline.Event, ok bool) {
	e = timeline.Event{Type: t.Type, From: t.From, To: t.To, Reason: t.Reason}
	switch t.Event {
	case controller.EventPhaseChanged:
		e.Type, e.Reason = ofPhase, "" // it is that of OwnershipVerified, which says more
		return e, t.From != ""
	case controller.EventConditionChanged:
		if t.To != "True" {
			e.Message = t.Message
		}
		fresh := t.To != "True" && (t.From == "" || t.From == "Unknown")
		return e, !fresh && t.Type != v1alpha3.ConditionTargetReady && t.Type != v1alpha3.ConditionReady
	case eventCertificateObtained:
		e.Type = ofCertificate
		return e, true
	case eventCertificateFailed, eventCertificateExpiring:
		e.Type, e.Message = ofCertificate, t.Message
		return e, true
	}
	return e, false
}

// sweepTimelines removes time lines of records that ended while nobody was there to hear
// of it, once this node knows which are its own.
func (rt *runtime) sweepTimelines(ctx context.Context) error {
	if rt.member.WaitJoined(ctx) != nil {
		return nil // it ends
	}
	return rt.timelines.Sweep(ctx)
}
