package api

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// watch opens a watch and sends the time of every event that holds mark to
// seen; it returns once the server has answered.
func (w *world) watch(ctx context.Context, query, mark string, seen chan<- time.Time) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.url+"?watch=true&"+query, nil)
	if err != nil {
		return err
	}
	answer, err := w.client.Do(req)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		return fmt.Errorf("watching: status %d", answer.StatusCode)
	}
	go func() {
		defer answer.Body.Close()
		events := bufio.NewReaderSize(answer.Body, 16<<10)
		for {
			line, err := events.ReadSlice('\n')
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = events.ReadSlice('\n')
			}
			if err != nil {
				return
			}
			if bytes.Contains(line, []byte(mark)) {
				seen <- time.Now()
			}
		}
	}()
	return nil
}

// present is the revision to watch from.
func (w *world) present(ctx context.Context) (string, error) {
	var buf bytes.Buffer
	if err := w.call(ctx, &buf, http.MethodGet, "?limit=1", "", nil); err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(buf.String(), `"resourceVersion":"`)
	revision, _, _ := strings.Cut(rest, `"`)
	return revision, nil
}

// BenchmarkFanOut is the time from a write, before it is sent, until watchers
// have its event: the first of them and the last.
func BenchmarkFanOut(b *testing.B) {
	w := newWorld(b)
	for _, watchers := range []int{1, 100, 1000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			revision, err := w.present(ctx)
			if err != nil {
				b.Fatal(err)
			}
			before := liveHeap()
			seen := make(chan time.Time, watchers)
			for range watchers {
				if err := w.watch(ctx, "allowWatchBookmarks=true&resourceVersion="+revision, `"type":"MODIFIED"`, seen); err != nil {
					b.Fatal(err)
				}
			}
			heap := float64(liveHeap()-before) / float64(watchers)
			var buf bytes.Buffer
			var written, last []time.Duration
			for i := 0; b.Loop(); i++ {
				body := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, serial.Add(1))
				begun := time.Now()
				if err := w.call(ctx, &buf, http.MethodPatch, "/"+hostname(i), "application/merge-patch+json", body); err != nil {
					b.Fatal(err)
				}
				written = append(written, time.Since(begun))
				var end time.Time
				for range watchers {
					if at := <-seen; at.After(end) {
						end = at
					}
				}
				last = append(last, end.Sub(begun))
			}
			quantiles(b, last)
			var sum time.Duration
			for _, d := range written {
				sum += d
			}
			b.ReportMetric(float64(sum.Microseconds())/1000/float64(len(written)), "ms-write")
			b.ReportMetric(heap/1024, "KiB/watcher")
		})
	}
}

// BenchmarkWatchList is how an informer starts: 100,000 records as events, then
// the bookmark that ends them.
func BenchmarkWatchList(b *testing.B) {
	w := newWorld(b)
	for b.Loop() {
		if err := w.watchList(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/start")
	b.ReportMetric(w.heapOf(b, func(get func(string, func(io.Reader) error) error) error {
		return get("?watch=true&"+watchListQuery, func(answer io.Reader) error {
			events := bufio.NewReader(answer)
			for {
				line, err := events.ReadBytes('\n')
				if err != nil || bytes.Contains(line, []byte("k8s.io/initial-events-end")) {
					return err
				}
			}
		})
	}), "MiB-live")
}

const watchListQuery = "allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"

func (w *world) watchList(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seen := make(chan time.Time, 1)
	if err := w.watch(ctx, watchListQuery, "k8s.io/initial-events-end", seen); err != nil {
		return err
	}
	select {
	case <-seen:
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("listing by a watch: %w", io.ErrNoProgress)
	}
}
