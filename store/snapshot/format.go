package snapshot

import (
	"errors"
	"time"
)

// The stream's first line.
const (
	magic   = "apoxy-backup "
	version = 1
	maxLine = 64 // bytes
)

// The kinds of records.
const (
	kindHeader  = 'h'
	kindValue   = 'v'
	kindDamaged = 'd'
	kindFailed  = '!'
	kindEnd     = 'z'
)

// keyExpired is the key of a record of kindFailed after store.ErrExpired.
const keyExpired = "expired"

// Bounds of a record, in bytes. An engine takes no longer keys, and values are far
// shorter: what is longer is no stream of ours.
const (
	maxKey   = 1 << 15
	maxValue = 64 << 20
)

// maxRevision is what no store has come to; others count on from it.
const maxRevision = 1 << 62

// window is how far back Zstandard looks, in bytes: memory of both sides.
const window = 1 << 20

var (
	// ErrBroken: the stream is none of ours, was cut off or was altered.
	ErrBroken = errors.New("not a whole backup")
	// ErrNewer: the stream is of a later version of this program.
	ErrNewer = errors.New("written by a newer version")
)

// Header says what a stream was made of.
type Header struct {
	// Store names the store, as its configuration does.
	Store string `json:"store"`
	// Revision of the store that everything is as of.
	Revision int64 `json:"revision"`
	// Time at which reading began.
	Time time.Time `json:"time"`
}

// Sum is what a stream holds.
type Sum struct {
	// Values are whole, Damaged are left out.
	Values, Damaged int64
}
