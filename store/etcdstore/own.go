package etcdstore

import (
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// own begins the keys below the prefix that are the engine's own. They are in no list
// and in no watch.
const own = ".etcdstore/"

func isOwn(key string) bool { return strings.HasPrefix(key, own) }

// format counts the ways of keeping things that versions of this engine and of the rooms
// above it have had. A version that changes one so that the version before must not write
// any more counts on, and sets the key newer-than/ with the format before, once all nodes
// are of that version. Every write of a node asks in its transaction that the key of its
// own format is not there.
const format = "1"

// newerKey is the key whose being there says that this version must write no more.
func (s *Store) newerKey() string { return s.prefix + own + "newer-than/" + format }

// newer is the error of a write where it is.
func (s *Store) newer() error {
	return &store.UnavailableError{Engine: s.health.engine, Reason: "what is kept below " + s.prefix + " is of a newer version than this node's, which writes nothing there: upgrade this node"}
}

// afterOwn is the first key behind the engine's own.
const afterOwn = ".etcdstore0"

// span is the keys from start up to end, without end.
type span struct{ start, end string }

// users returns the parts of a span that are not the engine's own; prefix is the
// store's. There may be none.
func (s span) users(prefix string) (parts []span) {
	for _, part := range []span{{s.start, min(s.end, prefix+own)}, {max(s.start, prefix+afterOwn), s.end}} {
		if part.start < part.end {
			parts = append(parts, part)
		}
	}
	return parts
}
