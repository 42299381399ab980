package issuance

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

func TestPollsOfAnOrderGrowRare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := paced(t.Context())
		var waits []time.Duration
		for range 12 {
			began := time.Now()
			if err := pace(ctx); err != nil {
				t.Fatal(err)
			}
			waits = append(waits, time.Since(began))
		}
		if waits[0] != 0 || waits[1] != 0 {
			t.Errorf("finalizing and the first poll waited %v", waits[:2])
		}
		for i := 3; i < len(waits); i++ {
			if waits[i] < waits[i-1] || waits[i] > lastPoll {
				t.Errorf("the pauses are %v", waits)
			}
		}
		if waits[len(waits)-1] < lastPoll-firstPoll {
			t.Errorf("the last pause is %v", waits[len(waits)-1])
		}
		if pace(t.Context()) != nil {
			t.Error("other requests are slowed down")
		}
		ctx, cancel := context.WithCancelCause(ctx)
		cancel(errHeld)
		if err := pace(ctx); err != errHeld {
			t.Errorf("stopped: %v", err)
		}
	})
}
