// Package controller is the shell around the pure core: it observes the world
// (DNS, certificates, targets), asks ownership what that means, writes the
// status, and schedules the next look. It decides nothing itself, and knows of
// DNS what resolver tells it.
//
// What asks for a look:
//
//	the table       changes.go      a record came, changed or went
//	issuance        CertificateChanged in controller.go
//	targets         targets.go      a target's health changed
//	DNS, API, CLI   hints.go, Wake in controller.go: somebody saw something new
//	time            queue.go        the look is due
//	     │
//	     ▼
//	queue.go: an item (item.go) waits in a track (track.go), apart from what is slower
//	     │
//	     ▼
//	look.go: work ─▶ read (record.go) ─▶ observe ─▶ settle.go: decide, by the core
//	     │              │                              │
//	     │              │                              ├─ tenants.go   who else has a claim
//	     │              │                              ├─ brake.go, brake_hold.go   the fleet's
//	     │              └─ glance.go: few questions    ├─ expiry.go    never proven
//	     │                                             ▼
//	     │                                          write (record.go), if anything is new
//	     ▼                                             │
//	plan in settle.go: when to look next               ├─ want in settle.go: issuance
//	mend.go: somebody else wrote the status            └─ transition.go: what is told
//
// clock.go sees a clock that is set back, headcount.go counts tenants for the brake.
//
// Who holds which lock: Controller.mu the items, their queue and what is remembered of
// domains; Controller.targetsMu what targets said last; brake.mu the withdrawals and
// falls; hints.mu and glances.mu the hostnames that were hinted at. glances.mu may be
// taken under Controller.mu; beside that none is held while another is taken. None is
// held while something is observed, or during a read or write of the store.
package controller
