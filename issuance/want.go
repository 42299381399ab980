package issuance

import "github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"

// Want records what a record asks for; idempotent and cheap.
func (s *Scheduler) Want(w Want) {
	if w.Since < 0 || w.Since > 1<<33 {
		w.Since = 0 // nanoseconds cannot hold it
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

// Retry has a hostname that failed tried now, and not when its pause is over. A CA that
// asked to wait is not asked earlier. If a try is under way another follows, because
// that one may have looked at DNS before the change; but not if the CA itself decided it.
func (s *Scheduler) Retry(hostname string) { s.entries.retry(hostname) }
