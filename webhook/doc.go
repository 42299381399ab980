// Package webhook tells HTTP endpoints of what happens to records, as Standard
// Webhooks (https://www.standardwebhooks.com) has it. It knows events by their names
// and records by their JSON; it knows no Caddy, no controller and no record's type.
//
// The way of an event:
//
//	Offer ─▶ intake.go: body, one entry an endpoint ─▶ store (entry.go)
//	                                                     │
//	sender.go: what is due (line.go, schedule.go) ◀──────┘
//	   │
//	   ▼
//	deliver.go: signed (secret.go), sent, judged (outcome.go) ─▶ deleted, put off or given up
//
// An entry that is in the store survives a crash. It is deleted after the endpoint has
// taken it and not before, so that each is delivered at least once; a second delivery has
// the same webhook-id. admin.go is what operators ask for: test, list and replay.
//
// Sender.mu guards the lines, which are in memory: what is known of each entry but its
// body. It is never held across the store or the network.
package webhook
