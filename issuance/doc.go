// Package issuance gets certificates and keeps them fresh: it chooses the
// challenge per name, has orders placed (issuance/acme), waits where a CA asks for
// it, schedules first issuances and renewals, and remembers what is stored. It
// neither serves DNS nor decides who owns a name.
//
// The way of a Want from its arrival to the order, each file once:
//
//	Want ─ want.go ─ entries.go ─ next.go ─ lanes.go       what is needed, and when; the
//	                    │ lock        due.go   │           heap until then, a lane from then on
//	                    │                fairqueue/
//	Run ── run.go ──── takeup.go ─ flight.go               whose turn it is, and is there room
//	         │
//	       job.go ──── search.go, ari.go, ocsp.go, clean.go: what is no order
//	         │
//	       order.go ── obtain.go ── probe.go               DNS and CAA, now
//	         │             │        edgecheck.go ─ edge/   do CAs reach us
//	         │             └─────── acme/                  account, order, challenge, polls
//	         └──────── failed.go, atwork.go, pauses.go     what a failure means, until when
//	       run.go ──── flight.go (land)                    back into the heap; Observe tells
//
// What customers bring stands beside the dossiers and is never proof: upload.go says what
// it comes to and when, upload_index.go keeps it as the store has it, upload_take.go and
// upload_tend.go change it; ownchain/ judges it, certfiles/ stores and shows it.
//
// Beside it: follow.go brings what other nodes write, handshake.go what handshakes
// cause, stored.go, inventory.go and audit.go what storage lacks, ledger.go, holds.go and budget.go
// what CAs asked for and what was spent; outlook.go and chain.go are what people are shown.
//
// Who holds which lock: entries.mu the hostnames, their heap, lanes and flights;
// ledger.mu holds and budgets (it may be taken under entries.mu); Issuers.mu the
// issuer lines (the same); inventory.mu what storage did not answer (the same);
// auditor.mu which storage was compared; Scheduler.confMu one change of configuration
// at a time, and it is taken before all others. Storage, the store, DNS and CAs are
// asked under none of them but confMu, and OnChange is called under none.
//
// Words: the index is what the store keeps, one dossier for each hostname; an entry is
// what memory has of it, dossier and Want together. A step is what an entry needs next;
// a flight is an entry that is worked on, a job that work, and a landing its result.
package issuance
