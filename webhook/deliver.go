package webhook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// maxAnswer is how much of an answer's body is read, so that the connection can
	// be used again, and maxAnswerHeader bounds its header, both in bytes.
	maxAnswer       = 4 << 10
	maxAnswerHeader = 64 << 10
	// maxReason bounds what is kept of why a try failed, in bytes.
	maxReason = 300
)

// newClient is the client of all deliveries. It follows no redirect.
func newClient() *http.Client {
	dialer := &net.Dialer{Timeout: 5 * time.Second}
	return &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            dialer.DialContext,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true,
			TLSHandshakeTimeout:    5 * time.Second,
			MaxIdleConnsPerHost:    maxFlights,
			IdleConnTimeout:        90 * time.Second,
			MaxResponseHeaderBytes: maxAnswerHeader,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// fly makes one try of an entry.
func (s *Sender) fly(ctx context.Context, e Endpoint, l *line, it *item) {
	defer s.rouse()
	key := queueKey(e.key(), it.id)
	kv, _, err := s.cfg.Store.Get(ctx, key)
	var n entry
	if err == nil {
		_, _, n, err = decodeEntry(strings.TrimPrefix(key, queuePrefix), kv.Value)
	}
	if err != nil {
		s.unreadable(ctx, l, it, key, err)
		return
	}
	if n.Node != s.cfg.Node() { // which took this one for gone
		s.letGo(l, it)
		return
	}
	o := s.send(ctx, e, it.id, []byte(n.Body))
	s.landed(ctx, e, l, it, o)
}

// unreadable deals with an entry that cannot be sent, because of the store.
func (s *Sender) unreadable(ctx context.Context, l *line, it *item, key string, err error) {
	lost := ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrClosed)
	if lost && !errors.Is(err, store.ErrNotFound) { // not by another node
		s.log.Error("a webhook delivery is lost: what the store has of it cannot be read", zap.String("id", it.id), zap.Error(err))
		if err := s.write(ctx, store.Op{Key: key, If: store.Any}); err != nil {
			s.log.Warn("a lost webhook delivery is still in the store", zap.String("id", it.id), zap.Error(err))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measure()
	l.landed(it)
	if lost {
		l.remove(it)
		return
	}
	it.next = s.cfg.Now().Add(time.Second)
}

// letGo leaves an item to the node that has taken it over.
func (s *Sender) letGo(l *line, it *item) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measure()
	l.landed(it)
	l.remove(it)
}

// landed notes what became of a try, in memory and in the store.
func (s *Sender) landed(ctx context.Context, e Endpoint, l *line, it *item, o outcome) {
	ctx, cancel := outlasting(ctx)
	defer cancel()
	s.mu.Lock()
	before, waiting := l.state, l.waiting
	done := l.settle(it, o, s.cfg.Now())
	after, lost := l.state, waiting-l.waiting
	var givenUp []*item
	if o.verdict == gone {
		givenUp = slices.DeleteFunc(slices.Clone(l.items), func(other *item) bool { return other == it })
	}
	s.mu.Unlock()
	s.record(ctx, e, it, o, done)
	s.keepGivenUp(ctx, e.key(), givenUp)
	s.tell(ctx, e, before, after)
	if lost > 0 {
		count(countGivenUp, lost)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.measure()
	l.landed(it)
	if done {
		l.remove(it)
	}
}

// record counts and stores what became of an item, which is still under way.
func (s *Sender) record(ctx context.Context, e Endpoint, it *item, o outcome, done bool) {
	key := queueKey(e.key(), it.id)
	switch {
	case done:
		count(countDelivered, 1)
		if err := s.write(ctx, store.Op{Key: key, If: store.Any}); err != nil {
			s.log.Warn("a webhook delivery that was taken comes again after a restart: it could not be removed from the store", zap.String("id", it.id), zap.Error(err))
		}
	case o.verdict != aborted:
		count(countFailed, 1)
		err := s.rewrite(ctx, key, func(n *entry) {
			n.Tries, n.Next, n.Reason, n.GivenUp = it.tries, it.next, it.reason, it.givenUp
		})
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			s.log.Warn("that a webhook delivery failed could not be stored: after a restart it is tried sooner", zap.String("id", it.id), zap.Error(err))
		}
	}
}

// outlasting is a context that goes on for lastWrites after ctx: what became of a try is
// stored even if the process is ending.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(lastWrites, cancel) })
	return out, func() { stop(); cancel() }
}

// tell logs and stores that an endpoint has become well, unwell or gone.
func (s *Sender) tell(ctx context.Context, e Endpoint, before, after state) {
	failed, fails := before.failing(), after.failing()
	if failed == fails && before.Gone.Equal(after.Gone) && !before.LastSuccess.IsZero() == !after.LastSuccess.IsZero() {
		return
	}
	switch url := zap.String("url", e.shown()); {
	case !after.Gone.IsZero():
		s.log.Error("a webhook's endpoint is told nothing any more, for it answered 410 Gone: once that is mended, `caddy apoxy webhook test` takes it up again", url)
	case fails && !failed:
		s.log.Warn("a webhook's endpoint does not take what it is told; it is tried again", url, zap.String("reason", after.Reason))
	case failed && !fails:
		s.log.Info("a webhook's endpoint takes what it is told again", url)
	}
	if err := s.write(ctx, store.Op{Key: statePrefix + e.key(), Value: encode(after), If: store.Any}); err != nil {
		s.log.Warn("what is known of a webhook's endpoint could not be stored", zap.Error(err))
	}
}

// failing tells whether the last try failed.
func (s state) failing() bool { return s.LastFailure.After(s.LastSuccess) }

// send makes one try and says what became of it.
func (s *Sender) send(ctx context.Context, e Endpoint, id string, body []byte) outcome {
	began := s.cfg.Now()
	o := s.post(ctx, e, id, began, body)
	o.took = s.cfg.Now().Sub(began)
	if ctx.Err() != nil && o.verdict != delivered {
		o.verdict = aborted
	}
	return o
}

func (s *Sender) post(ctx context.Context, e Endpoint, id string, at time.Time, body []byte) outcome {
	ctx, cancel := context.WithTimeout(ctx, deliveryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.URL, strings.NewReader(string(body)))
	if err != nil {
		return outcome{verdict: unwell, reason: "its URL cannot be used"}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", s.cfg.UserAgent)
	req.Header.Set("webhook-id", id)
	req.Header.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
	req.Header.Set("webhook-signature", Sign(e.Secrets, id, at, body))
	resp, err := s.client.Do(req)
	if err != nil {
		return outcome{verdict: unwell, reason: whyNot(err)}
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // the status is the whole answer
	return judge(resp.StatusCode, resp.Header.Get("Retry-After"), s.cfg.Now())
}

// whyNot says why there was no answer, without the URL, which may hold a secret.
func whyNot(err error) string {
	if outer := (*url.Error)(nil); errors.As(err, &outer) {
		err = outer.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("it has not answered within %s", deliveryTimeout)
	}
	return words.Cut("it cannot be reached: "+err.Error(), maxReason)
}
