package webhook

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"
)

// EventTest is the type of what operators send to try an endpoint.
const EventTest = "apoxy.test"

// MaxBody bounds the body of a delivery, in bytes.
const MaxBody = 256 << 10

// Event is what endpoints are told of.
type Event struct {
	// Type is the event's name, such as apoxy.phase_changed.
	Type string
	// At is when it happened. Default: when it is offered.
	At time.Time
	// Name is the record's, and the other texts are those that the event has.
	Name, Hostname, Subject, From, To, Reason, Message string
	// Record is the record as JSON, as it was after the event; nil: it is read
	// once the event is taken in.
	Record json.RawMessage
	// Once, if not empty, is what makes the event the same as another: of those
	// with the same Once an endpoint is told once.
	Once string
}

// data is the part of a body that tells of the event.
type data struct {
	Name     string `json:"name"`
	Hostname string `json:"hostname"`
	Type     string `json:"type"`
	From     string `json:"from"`
	To       string `json:"to"`
	Reason   string `json:"reason"`
	Message  string `json:"message"`
	// Record is null where there is none, and where it is too large.
	Record json.RawMessage `json:"record"`
}

type body struct {
	Type      string    `json:"type"`
	Timestamp time.Time `json:"timestamp"`
	Data      data      `json:"data"`
}

// encode is the body that is sent. A record with which it would be larger than MaxBody
// is left out.
func (e Event) encode() string {
	b := body{e.Type, e.At.UTC(), data{e.Name, e.Hostname, e.Subject, e.From, e.To, e.Reason, e.Message, e.Record}}
	out, err := json.Marshal(b)
	if err != nil || len(out) > MaxBody { // err: the record is no JSON
		b.Data.Record = nil
		out = encode(b)
	}
	return string(out)
}

// id is the header webhook-id: the same in every try.
func (e Event) id() string {
	if e.Once == "" {
		return "msg_" + rand.Text()
	}
	sum := sha256.Sum256([]byte(e.Type + "\x00" + e.Once))
	return "msg_" + hex.EncodeToString(sum[:13])
}
