// Package dnsprovider is the authoritative DNS server of the operator's zone:
// name to answer, the UDP and TCP server around it, RFC 1035 zone files served
// beside it, and its libdns face. It reads records through a small interface
// and knows nothing of how they are verified.
//
// The way of a question:
//
//	UDP  udp.go ──┐   many datagrams by one call: batch_*.go, mmsg_linux.go;
//	TCP  tcp.go ──┤   sockets and their life: server.go, socket_*.go
//	              ▼
//	authority.go: Answer, in one scratch of a pool
//	   │
//	   ├─ query.go, wirename.go      what is asked; EDNS, sizes
//	   ├─ guard.go                   who asks: cookie.go (siphash.go), ratelimit.go
//	   ├─ match: which zone
//	   │     ├─ zone.go              the operator's: built from zoneconfig.go, caavalue.go;
//	   │     │     ├─ names.go       hostnames of records, asked of the table
//	   │     │     ├─ texts.go       what is published there, such as a public key
//	   │     │     └─ rrindex.go     challenges and what libdns wrote
//	   │     └─ fileanswer.go        a zone file's: zonefile.go reloads, zoneparse.go reads
//	   ├─ result.go                  which sets belong in the answer
//	   ▼
//	message.go, rdata.go: the answer's octets; metrics.go counts
//
// The way of a change:
//
//	libdns      provider.go, providernames.go ──┐
//	issuance    challenges.go ──────────────────┤
//	                                            ▼
//	rrupdate.go: Update ─▶ the store ─▶ rrsets.go: Run follows ─▶ rrindex.go
//
// Who holds which lock: the way of a question takes none but, for a name that is
// not a record's, the read lock of one shard of rrIndex; zones and cookie keys are
// swapped as pointers. connTable's guards the TCP connections, ZoneFile.mu the
// reading of one file at a time, the counters' the zones that have been counted.
package dnsprovider
