package issuance

import "github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"

// Want implements Observer.
func (s *Scheduler) Want(w Want) {
	if w.Since < 0 || w.Since > 1<<33 {
		w.Since = 0 // nanoseconds cannot hold it
	}
	s.entries.want(w)
}

// Forget implements Observer. The certificate leaves certmagic's memory.
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

// Retry implements Observer. After a try under way that the CA itself decides, none follows.
func (s *Scheduler) Retry(hostname string) { s.entries.retry(hostname) }
