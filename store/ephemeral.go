package store

import (
	"slices"
	"strings"
)

// ephemeral are the prefixes of what must not leave the store that it is in.
var ephemeral = []string{
	"nodes/",         // which nodes are live: each key belongs to a session
	"acks/",          // up to where a node has come
	"hints/",         // what one node asks another to look at
	"storage-locks/", // who holds a lock of Caddy's storage
	"snapshot/",      // how this store was filled (store/snapshot)
}

// Ephemeral reports whether a key says something of processes that run now, or of this
// very store, so that it means nothing anywhere else: copies and backups leave it out.
func Ephemeral(key string) bool {
	return slices.ContainsFunc(ephemeral, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
}
