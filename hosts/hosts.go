// Package hosts is the table of hostnames in memory that every hot path reads:
// the TLS permission, the HTTP handler and the zone. It holds what those need
// of each record and no more. A look-up takes no lock across work, does no I/O
// and does not allocate; a change costs O(1). It knows nothing of Caddy, DNS
// messages or the engine that keeps the records.
//
//	the store ─▶ follow.go ─▶ record.go, decode.go, conditions.go: a Host (host.go) of each record,
//	                │         marks.go, uid.go: its labels, annotations and uid in few bytes
//	                │
//	                ▼
//	table.go: shards by hostname, each with two maps (index.go), exact names and wildcards
//	                │
//	                ├─ Get, Match      permission, handler, zone
//	                ├─ wait.go         who waits for a change of one hostname
//	                ├─ metrics.go      how many there are in each state
//	                ├─ revision.go     how far the store was followed, changed.go what changed last
//	                ├─ find.go         lists: query.go what is looked for, order.go where, facets.go by what
//	                └─ search.go       what people look for: words.go, passing over leaves by grams.go
//
// Each shard has a lock, held for one look-up or one change; the orders have one each,
// held for one change or for looking at a few hundred hosts. The metrics' lock is held
// while they are counted.
package hosts
