// Package cluster is this process's place among the nodes that share a store: who is
// live, whose work is whose, and whether all have heard. It knows nothing of records,
// zones and certificates.
//
// A node is live while it holds its session with the store (store.Session; in etcd a
// lease). The keys, all but the last bound to the session of who writes them:
//
//	nodes/NAME      who the node is and how far it has come; its being there says that it is live
//	mail/FROM/TO    what one node tells another
//	members/NAME    that there is such a node, live or gone
//
// The way into the cluster (join.go): begin a session, write nodes/NAME where nobody is,
// have the zone catch up with that write, acknowledge it, be live. The way out: the
// session is lost, and Live is false before any other node can see it gone.
//
// Work is shared out by rendezvous hashing (share.go) over the live nodes as this node
// last saw them while it was live itself. It may be done twice in moments of change, so
// whatever must not be is under a lock or a condition of the store besides.
//
// Over an engine that belongs to one process there is one node, always live, and nothing
// is written.
package cluster
