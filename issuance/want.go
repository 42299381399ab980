package issuance

import "github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"

// Want records what a record asks for; idempotent and cheap.
func (s *Scheduler) Want(w Want) {
	if w.Since < 0 || w.Since > 1<<33 {
		w.Since = 0 // no time that nanoseconds can tell
	}
	s.entries.want(w)
}

// Forget drops a hostname: nothing is obtained or renewed for it any more, and
// its certificate leaves memory.
func (s *Scheduler) Forget(hostname string) {
	if s.entries.forget(hostname) {
		s.evict(hostname)
	}
}

// evict drops the certificate of a hostname from certmagic's memory, so that the next
// handshake loads it from storage.
func (ts *tools) evict(hostname string) {
	for _, c := range ts.authorities() {
		certfiles.Evict(c.cfg, hostname)
	}
}

// Retry asks for a failed hostname to be tried now rather than when its pause
// is over. What a CA asked to wait for is still waited for. A try under way may
// have looked too early; unless the CA itself decides it, another follows.
func (s *Scheduler) Retry(hostname string) { s.entries.retry(hostname) }
