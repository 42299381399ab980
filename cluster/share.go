package cluster

import "hash/fnv"

// Share returns which of the nodes works on key: the one whose hash with the key is
// largest (rendezvous hashing, Thaler and Ravishankar 1998). When a node comes or goes,
// only the keys that it gains or had change hands. Without nodes it is "". All nodes of
// all versions must agree on it.
func Share(nodes []string, key string) (owner string) {
	base := hash(key)
	var most uint64
	for _, n := range nodes {
		if h := mix(base ^ hash(n)); owner == "" || h > most || h == most && n < owner {
			owner, most = n, h
		}
	}
	return owner
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}

// mix spreads every bit of x over all of the result (the finalizer of MurmurHash3 by
// Austin Appleby, in Stafford's variant 13), which FNV-1a does not for its last octets.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
