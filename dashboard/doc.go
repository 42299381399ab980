// Package dashboard is what operators and support people look at: pages over the
// records, from which one sees what all domains are doing and who must do what. Pages are
// made on the server and work without a script. It reads and writes records through the
// API alone, so that it shows the same and obeys the same rules; all else it is told by
// Facts. It knows nothing of Caddy, DNS or certificates.
//
// The way of a request:
//
//	ServeHTTP  dashboard.go: where it goes, and which methods may go there
//	   │
//	   ├─ overview.go   counts and the state of things, told by facts.go, asked for by gather.go;
//	   │                plot.go draws
//	   ├─ list.go       filters of the URL ─▶ Search ─▶ each record of the API
//	   ├─ record.go     one record: recorddns.go what its customer creates, and what was seen
//	   ├─ write.go      check, revoke, delete: of the record that the page showed, and no other
//	   └─ live.go       says when a page has changed
//	   ▼
//	page.go     templates/ ─▶ the answer; api.go calls the API
//
// It holds no lock. How many streams are open at a time is bounded by a channel.
package dashboard
