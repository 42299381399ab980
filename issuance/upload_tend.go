package issuance

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Expiring tells of a customer's own certificate that is about to expire, with nothing to
// take its place.
type Expiring struct {
	Hostname, UID string
	// Days is how many before its end this tells of: 30, 14 or 3.
	Days     int
	NotAfter time.Time
	Message  string // says who must act
}

// tendUpload acts on what an upload has come to: its renewal or its end, which Observe
// then tells, a warning, or that it has been expired for long.
func (j *job) tendUpload(ctx context.Context) landing {
	now, out := j.now(), landing{rec: j.rec}
	if j.upload == nil {
		return out
	}
	next := *j.upload
	next.tended = now.Unix()
	out.upload = &next
	if !now.Before(times.Unix(next.NotAfter).Add(keepExpired)) {
		j.dropExpiredUpload(ctx, &next)
		out.again = dropRetry // unless the store tells that it is gone
		return out
	}
	if j.warn == 0 {
		return out
	}
	next.Warned = j.warn
	revision, err := j.cfg.Store.Write(ctx, store.Op{Key: UploadPrefix + j.hostname, Value: next.marshal(), If: next.revision})
	if err != nil { // another node has warned, or it was replaced: the store tells
		out.again = time.Minute
		return out
	}
	next.revision = revision
	j.after = append(j.after, func(context.Context) { j.warned(&next) })
	return out
}

func (j *job) warned(u *upload) {
	end := times.Unix(u.NotAfter)
	j.log.Warn("a customer's own certificate is about to expire, and nothing takes its place", zap.String("hostname", j.hostname), zap.Time("not_after", end), zap.Int("days", u.Warned))
	j.cfg.OnExpiring(Expiring{Hostname: j.hostname, UID: u.UID, Days: u.Warned, NotAfter: end, Message: fmt.Sprintf(
		"The customer's own certificate of %s ends at %s, in less than %d days, and none was obtained in its place: the customer brings another one to upload, or creates the records by which one is obtained.",
		j.hostname, times.Stamp(end), u.Warned)})
}

// dropExpiredUpload removes an upload that has been expired for long. An error is logged.
func (j *job) dropExpiredUpload(ctx context.Context, u *upload) {
	_, err := j.removeUpload(ctx, j.hostname, func(have *upload) bool { return have.UID == u.UID && have.Sum == u.Sum })
	j.removed(err)
}
