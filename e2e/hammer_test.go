package e2e

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// hammer repeats a request without a pause and keeps count of the answers.
type hammer struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	counts map[string]int       // by answer
	first  map[string]time.Time // when an answer was first given
	errs   []error
}

// hit starts workers that call request until stop; the answers are counted by
// the string it returns.
func hit(t *testing.T, workers int, request func(ctx context.Context) (string, error)) *hammer {
	ctx, cancel := context.WithCancel(t.Context())
	h := &hammer{cancel: cancel, counts: map[string]int{}, first: map[string]time.Time{}}
	for range workers {
		h.done.Go(func() {
			for ctx.Err() == nil {
				answer, err := request(ctx)
				if ctx.Err() != nil {
					return
				}
				h.note(answer, err)
			}
		})
	}
	t.Cleanup(h.stop)
	return h
}

func (h *hammer) note(answer string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err != nil {
		h.errs = append(h.errs, err)
		return
	}
	if h.counts[answer] == 0 {
		h.first[answer] = time.Now()
	}
	h.counts[answer]++
}

// stop ends the workers.
func (h *hammer) stop() {
	h.cancel()
	h.done.Wait()
}

// count is how often an answer was given.
func (h *hammer) count(answer string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts[answer]
}

// firstSeen is when an answer was first given.
func (h *hammer) firstSeen(answer string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.first[answer]
}

// failures is how many requests failed, and the first few reasons.
func (h *hammer) failures() (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.errs), errors.Join(h.errs[:min(3, len(h.errs))]...)
}

// total is how many requests were made.
func (h *hammer) total() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := len(h.errs)
	for _, n := range h.counts {
		all += n
	}
	return all
}

// until waits until an answer has been given n more times.
func (h *hammer) until(t *testing.T, limit time.Duration, answer string, n int) {
	t.Helper()
	n += h.count(answer)
	eventually(t, limit, "the answer "+answer, func() error {
		if got := h.count(answer); got < n {
			failed, err := h.failures()
			return errorf("%q was answered %d times, want %d; %d of %d requests failed: %v", answer, got, n, failed, h.total(), err)
		}
		return nil
	})
}
