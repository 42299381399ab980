package issuance

import (
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

const (
	// storedConcurrency is how many looks may be under way: a storage may never answer.
	storedConcurrency = 32
	// storedPause is the least time between two looks for handshakes for one hostname.
	storedPause = time.Second
	// maxStored is for how many hostnames the time of the last such look is kept.
	maxStored = 4096
	// doubtPause is the least time between two log lines about a storage that fails.
	doubtPause = time.Minute
)

// errMute means that storage does not answer.
var errMute = errors.New("it does not answer")

// inventory is what is known about storage itself.
type inventory struct {
	asking chan struct{} // holds a token for each look that is under way

	mu        sync.Mutex
	doubts    map[string]string    // by hostname: why storage could not tell
	doubtTold time.Time            // when that was logged last
	muteUntil time.Time            // storage did not answer and is not asked until then; zero: it did
	looked    map[string]time.Time // by hostname: when a handshake last had storage looked at
}

func newInventory() *inventory {
	return &inventory{asking: make(chan struct{}, storedConcurrency), doubts: map[string]string{}, looked: map[string]time.Time{}}
}

// doubt is why storage could not tell of a hostname, empty if it could.
func (i *inventory) doubt(hostname string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.doubts[hostname]
}

// forget removes the doubt about a hostname.
func (i *inventory) forget(hostname string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.doubts, hostname)
}

// mute reports whether storage is not to be asked because it did not answer. Once in each
// storedTimeout it says no to one caller, who finds out whether storage answers again.
func (i *inventory) mute(now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	mute := now.Before(i.muteUntil) && i.muteUntil.Sub(now) <= storedTimeout // else the clock was set back
	if !mute && !i.muteUntil.IsZero() {
		i.muteUntil = now.Add(storedTimeout)
	}
	return mute
}

// answered notes whether storage answered.
func (i *inventory) answered(ok bool, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.muteUntil = now.Add(storedTimeout); ok {
		i.muteUntil = time.Time{}
	}
}

// again reports whether a handshake for a hostname may have storage looked at again.
func (i *inventory) again(hostname string, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	last, known := i.looked[hostname]
	if !known && len(i.looked) >= maxStored {
		for name, at := range i.looked {
			if now.Sub(at) >= storedPause {
				delete(i.looked, name)
			}
		}
	}
	if known && now.Sub(last) < storedPause || !known && len(i.looked) >= maxStored {
		return false
	}
	i.looked[hostname] = now
	return true
}

// doubted notes that storage could not tell, or that it could (nil), and reports whether
// that changes what Observe tells. The text of the first error is kept: another one, for
// example with another port number in it, would cost a write of the status each time.
func (s *Scheduler) doubted(j *job, err error) bool {
	i := s.inventory
	i.mu.Lock()
	defer i.mu.Unlock()
	_, was := i.doubts[j.hostname]
	if err == nil {
		delete(i.doubts, j.hostname)
		return was
	}
	if !was {
		i.doubts[j.hostname] = intern(j.storageName() + ": " + words.Cut(err.Error(), 150))
	}
	if now := s.now(); now.Sub(i.doubtTold) >= doubtPause {
		i.doubtTold = now
		s.log.Warn("storage could not tell whether it has a certificate; what was known before still counts", zap.String("hostname", j.hostname),
			zap.String("storage", j.storageName()), zap.Error(err))
	}
	return !was
}
