package certstorage

import (
	"fmt"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// LockLostError says that a lock was lost while it was held: its session with the store
// ended, so that others may hold it. Nothing was written.
type LockLostError struct{ Name string }

func (e *LockLostError) Error() string {
	return fmt.Sprintf("the lock %q was lost: this node could not reach the store for longer than its session lasts, and another may have the lock; nothing was written", e.Name)
}

// Is makes it a certfiles.ErrLockLost.
func (e *LockLostError) Is(target error) bool { return target == certfiles.ErrLockLost }

// standing is how a lock that this process took stands.
type standing struct {
	name     string
	revision int64 // of its key in the store
	lost     bool
}

// fence decides whether a value at key may be written, given the locks that protect it:
// the conditions that the write must carry, so that it fails if a lock is another's by
// then, or a *LockLostError.
func fence(locks []standing) ([]store.Op, error) {
	var ops []store.Op
	for _, l := range locks {
		if l.lost {
			return nil, &LockLostError{l.name}
		}
		ops = append(ops, store.Op{Key: LockPrefix + l.name, If: l.revision, Check: true})
	}
	return ops, nil
}

// protecting returns the locks that this process holds and that protect what is written:
// those whose subject is an element of a key's path. Locks that have their place in memory
// alone are not among them: who holds one is alive.
func (l *Locks) protecting(ops []store.Op) []standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.o.Sessions == nil || len(l.bySubject) == 0 {
		return nil
	}
	var out []standing
	seen := map[string]bool{}
	for _, op := range ops {
		for _, element := range pathElements(op.Key) {
			for name, h := range l.bySubject[element] {
				if h.session == nil || seen[name] { // nil: it is being taken
					continue
				}
				seen[name] = true
				out = append(out, standing{name, h.revision, h.over()})
			}
		}
	}
	return out
}

// over tells whether the lock was lost: once the session may have ended, others may have
// it. The caller has Locks.mu.
func (h *hold) over() bool {
	if h.session != nil && !time.Now().Before(h.session.Until()) {
		h.lost = true
	}
	return h.lost
}

// lose notes that a lock is not held any more, as the store says.
func (l *Locks) lose(name string, revision int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.held[name]; h != nil && h.revision == revision {
		h.lost = true
	}
}

// subjectOf is what a lock protects: an element of the paths of keys; empty: nothing that
// can be told from keys.
func subjectOf(lock string) string { return certfiles.Subject(lock) }
