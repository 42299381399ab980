package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"net/http"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// typeApplyStream is the media type of many apply configurations, and that of the
// answers to them: one JSON document a line (https://github.com/ndjson/ndjson-spec).
const (
	typeApplyStream = "application/apply-patch+ndjson"
	typeLines       = "application/x-ndjson"
)

// Bounds on streams of configurations.
const (
	maxStreams    = 8
	streamWorkers = 64 // each on one record: the store takes in one go what comes together
	// streamAhead is how many may be on their way before the first of them is
	// answered, and streamTokens how much they may have together, in tokens of so many bytes.
	streamAhead  = 512
	streamTokens = 512
	streamToken  = 32 << 10
)

// ItemResult is the answer to one configuration of a stream; they come in its order.
type ItemResult struct {
	// Item counts the configurations from 1.
	Item int `json:"item"`
	// Name is the record's metadata.name, once it is known.
	Name string `json:"name,omitempty"`
	// Outcome is created, configured or unchanged; empty: Status says what is wrong.
	Outcome string `json:"outcome,omitempty"`
	// ResourceVersion is the record's.
	ResourceVersion string `json:"resourceVersion,omitempty"`
	// Warnings are what a single request has in its Warning headers.
	Warnings []string `json:"warnings,omitempty"`
	// Status is the error of a configuration that was not applied. One without a
	// name may be of the stream, which then ends.
	Status *metav1.Status `json:"status,omitempty"`
}

// bulkItem is one configuration on its way.
type bulkItem struct {
	line   []byte
	tokens int
	done   chan struct{} // closed once result is there
	result ItemResult
}

// bulk applies the configurations of one request.
type bulk struct {
	call    *call
	options writeOptions
	seed    maphash.Seed
	// order has the items in the order of the answers, queues those of each worker:
	// what is about one hostname comes to one, so that it is applied in its order.
	order  chan *bulkItem
	queues [streamWorkers]chan *bulkItem
	tokens chan struct{}
}

// applyStream answers PATCH …/domainrecords: server-side apply of one configuration
// after the other. Each is applied by itself, as if it had come alone. It ends with the
// body, with the first line that cannot be read, or when the server does; what was not
// answered may or may not have been applied, and can be applied again.
func (c *call) applyStream() error {
	c.verb = "patch"
	o, err := c.writeOptions("PatchOptions", types.ApplyPatchType)
	if err != nil {
		return err
	}
	select {
	case c.s.streams <- struct{}{}:
		defer func() { <-c.s.streams }()
	default:
		return apierrors.NewTooManyRequests(fmt.Sprintf("%d streams of configurations are being applied, which is the limit", maxStreams), 1)
	}
	rc := http.NewResponseController(c.w)
	if err := rc.EnableFullDuplex(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return fmt.Errorf("answering while the body is read: %w", err)
	}
	// The request's own context ends with any error of reading, such as that of a
	// deadline, after which what was read is still to be applied and answered.
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.r.Context()))
	defer cancel()
	s := &bulk{call: c, options: o, seed: maphash.MakeSeed(), order: make(chan *bulkItem, streamAhead), tokens: make(chan struct{}, streamTokens)}
	var working sync.WaitGroup
	for i := range s.queues {
		s.queues[i] = make(chan *bulkItem, streamAhead/streamWorkers)
		working.Go(func() {
			for item := range s.queues[i] {
				item.result = s.apply(ctx, item)
				close(item.done)
			}
		})
	}
	working.Go(func() { s.read(ctx, cancel, rc) })
	if !s.answer(rc) {
		cancel()
		_ = rc.SetReadDeadline(time.Unix(1, 0)) // whoever waits for the body waits no longer
	}
	for range s.order { // what was read before is given up
	}
	working.Wait()
	_ = rc.SetWriteDeadline(time.Time{})
	return nil
}

// answer writes the results in their order. It reports false if nobody is there any more.
func (s *bulk) answer(rc *http.ResponseController) bool {
	w := s.call.w
	w.Header().Set("Content-Type", typeLines)
	w.Header().Set("Cache-Control", "no-cache, private")
	w.WriteHeader(http.StatusOK)
	_ = rc.Flush() // clients wait for it; one that has gone is noticed below
	for item := range s.order {
		<-item.done
		for range item.tokens {
			<-s.tokens
		}
		line, err := json.Marshal(item.result)
		if err != nil {
			panic(err) // texts and a Status always encode
		}
		_ = rc.SetWriteDeadline(time.Now().Add(s.call.s.cfg.Limits.WatchWrite))
		if _, err := w.Write(append(line, '\n')); err != nil {
			return false
		}
		if len(s.order) == 0 {
			if err := rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
				return false
			}
		}
	}
	return true
}
