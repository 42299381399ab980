package store

import (
	"slices"
	"strings"
)

// What must not leave the store that it is in, by the keys' prefixes.
var (
	// ofSessions are gone with the process that wrote them.
	ofSessions = []string{
		"nodes/",         // which nodes are live
		"mail/",          // what one node tells another
		"storage-locks/", // who holds a lock of Caddy's storage
	}
	// ofThisStore stay, and mean nothing elsewhere.
	ofThisStore = []string{
		"members/",  // which nodes have ever used it
		"identity/", // which store it is (store/mirror)
		"snapshot/", // how it was filled
	}
)

// Ephemeral reports whether a key says something of processes that run now, or of this
// very store, so that it means nothing anywhere else: copies and backups leave it out.
func Ephemeral(key string) bool { return OfSession(key) || begins(key, ofThisStore) }

// OfSession reports whether a key is there only while a process uses the store.
func OfSession(key string) bool { return begins(key, ofSessions) }

func begins(key string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}
