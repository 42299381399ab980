package apiserver

import (
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// stalePatience is how long a GET or LIST waits for the engine to confirm that nothing
// newer was acknowledged, before it is answered from what this node has.
const stalePatience = time.Second

// warnStale warns a client that is answered from a copy (Warning 299, as Kubernetes does).
// It reports whether it did.
func (c *call) warnStale(s *store.Staleness) bool {
	cause := s.Cause()
	if cause != nil {
		c.warn("this is what this node last knew: writes acknowledged since may be missing: " + cause.Error())
	}
	return cause != nil
}
