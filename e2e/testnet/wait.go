package testnet

import (
	"fmt"
	"time"
)

// pollEvery is how often a condition is looked at that nothing announces.
const pollEvery = 20 * time.Millisecond

// Until looks at cond until it gives no error, and returns its last error,
// with what was waited for, once limit has passed.
func Until(limit time.Duration, what string, cond func() error) error {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := cond()
		if err == nil {
			return nil
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("waiting %v for %s: %w", limit, what, err)
		case <-tick.C:
		}
	}
}
