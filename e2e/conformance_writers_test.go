package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// Some records are deleted at this step and made again at the next.
	deletionStep = 50
	// Every tenth record is; every tenth write changes the spec.
	deletedOneIn = 10
	specOneIn    = 10
)

// writers write records, each record by one writer, step by step. What has no
// acknowledgement is written again until it has.
type writers struct {
	names  []string
	client *http.Client
	// acknowledged counts the writes that the product has acknowledged.
	acknowledged atomic.Int64
	// again counts the requests that were repeated because no answer came.
	again atomic.Int64
	done  sync.WaitGroup

	mu   sync.Mutex
	errs []error
}

// startWriters has so many writers take all records through steps 0, which
// creates them, to last. Their requests go where lead leads them, if it is not nil.
func startWriters(ctx context.Context, names []string, writing, last int, lead func(http.RoundTripper) http.RoundTripper) *writers {
	var transport http.RoundTripper = &http.Transport{
		MaxIdleConnsPerHost: writing,
		DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
	}
	if lead != nil {
		transport = lead(transport)
	}
	w := &writers{names: names, client: &http.Client{Timeout: 20 * time.Second, Transport: transport}}
	for i := range writing {
		w.done.Go(func() {
			for step := range last + 1 {
				for j := i; j < len(names); j += writing {
					if err := w.write(ctx, j, step); err != nil {
						w.fail(err)
						return
					}
					w.acknowledged.Add(1)
				}
			}
		})
	}
	return w
}

func (w *writers) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

// write brings one record to a step.
func (w *writers) write(ctx context.Context, record, step int) error {
	name := w.names[record]
	method, path, kind, body := http.MethodPatch, recordsPath+"/"+name, "application/merge-patch+json", []byte(nil)
	deleted := record%deletedOneIn == 0
	// The answers that say that an earlier request, whose answer never came,
	// had done it.
	before := 0
	switch {
	case step == 0, deleted && step == deletionStep+1:
		object := manifest(name, false)
		object["metadata"].(map[string]any)["annotations"] = map[string]any{stepAnnotation: fmt.Sprint(step)}
		method, path, kind, before = http.MethodPost, recordsPath, "application/json", http.StatusConflict
		var err error
		if body, err = json.Marshal(object); err != nil {
			return err
		}
	case deleted && step == deletionStep:
		method, before = http.MethodDelete, http.StatusNotFound
	case step%specOneIn == record%specOneIn:
		body = fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"%d"}},"spec":{"ttl":%[2]d}}`, stepAnnotation, step)
	default:
		body = fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"%d"}}}`, stepAnnotation, step)
	}
	return w.insist(ctx, fmt.Sprintf("writing step %d of %s", step, name), method, path, kind, body, before)
}

// insist sends a request until it is acknowledged. Before is the answer that says that an
// earlier one, whose answer never came, had done it; 0: there is none.
func (w *writers) insist(ctx context.Context, what, method, path, kind string, body []byte, before int) error {
	for attempt := 0; ; attempt++ {
		status, answer, err := w.send(ctx, method, path, kind, body)
		switch {
		case err == nil && (status/100 == 2 || attempt > 0 && status == before):
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case err == nil && status != http.StatusServiceUnavailable:
			return fmt.Errorf("%s: status %d: %s", what, status, answer)
		}
		w.again.Add(1)
		// The product is being started again; nothing tells when it serves.
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// until reads a path until it is answered, and what that says of it. 503, as a server
// that starts may answer, is none.
func (w *writers) until(ctx context.Context, what string, judge func(status int, body []byte) error, path string) error {
	for {
		status, body, err := w.send(ctx, http.MethodGet, path, "", nil)
		if err == nil && status != http.StatusServiceUnavailable {
			if err := judge(status, body); err != nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (w *writers) send(ctx context.Context, method, path, kind string, body []byte) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, adminURL+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", kind)
	req.Header.Set("User-Agent", "writer")
	answer, err := w.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, text, err
}

// reach waits until so many writes have been acknowledged.
func (w *writers) reach(t *testing.T, limit time.Duration, acknowledged int64) {
	t.Helper()
	eventually(t, limit, "the writers", func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if len(w.errs) > 0 {
			t.Fatalf("%d writers failed: %v", len(w.errs), w.errs[0])
		}
		if got := w.acknowledged.Load(); got < acknowledged {
			return errorf("%d of %d writes are acknowledged", got, acknowledged)
		}
		return nil
	})
}
