// Package timeline keeps what became of each record, so that a page can tell its story:
// one small value a record, with a bounded number of events. It knows events by their
// words and records by their uid; it knows no condition, no controller and no page.
//
// The way of an event:
//
//	Offer ─▶ pending.go: gathered by record, in memory ─▶ recorder.go: a few seconds later
//	                                                         │ many records in one write
//	line.go: folded, the beginning kept ◀────────────────────┘
//	   │
//	   ▼
//	code.go: a few bytes an event (known.go) ─▶ store
//
// Offer never waits. What a crash comes before is lost: the record itself has its state.
// A value ends with its record; sweep.go removes those of records that ended while nobody
// was there to hear of it.
package timeline
