package etcdstore

import "strings"

// own begins the keys below the prefix that are the engine's own. They are in no list
// and in no watch.
const own = ".etcdstore/"

func isOwn(key string) bool { return strings.HasPrefix(key, own) }

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
