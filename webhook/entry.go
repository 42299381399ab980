package webhook

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Prefix is what the keys of this room begin with:
//
//	webhooks/queue/ENDPOINT/ID   an entry: a body that the endpoint is to get
//	webhooks/state/ENDPOINT      what became of the last deliveries to it
//
// ENDPOINT is made from the URL, ID the header webhook-id.
const (
	Prefix      = "webhooks/"
	queuePrefix = Prefix + "queue/"
	statePrefix = Prefix + "state/"
)

// entry is what the store holds for one endpoint and one event.
type entry struct {
	Event  string    `json:"event"`
	Record string    `json:"record,omitempty"` // its name
	Queued time.Time `json:"queued"`
	// Node delivers it, where several share the store; empty: whichever reads it.
	Node string `json:"node,omitempty"`
	// Body is sent as it stands: its bytes are signed.
	Body string `json:"body"`
	// Tries is how many have failed, Next when the next is due, Reason why the last did.
	Tries  int       `json:"tries,omitempty"`
	Next   time.Time `json:"next,omitzero"`
	Reason string    `json:"reason,omitempty"`
	// GivenUp is since when it is kept for replay alone; zero: it waits.
	GivenUp time.Time `json:"givenUp,omitzero"`
}

// state is what the store holds for one endpoint.
type state struct {
	// Gone is since when it is told nothing, after 410; zero: it is.
	Gone        time.Time `json:"gone,omitzero"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	LastFailure time.Time `json:"lastFailure,omitzero"`
	Reason      string    `json:"reason,omitempty"`
}

func queueKey(endpoint, id string) string { return queuePrefix + endpoint + "/" + id }

// Check says why the value at a key below Prefix is not this room's; nil: it is.
func Check(key string, value []byte) error {
	if rest, ok := strings.CutPrefix(key, queuePrefix); ok {
		_, _, _, err := decodeEntry(rest, value)
		return err
	}
	if strings.HasPrefix(key, statePrefix) {
		_, err := decodeState(value)
		return err
	}
	return errors.New("no such key is made by this version")
}

func decodeState(value []byte) (s state, err error) {
	if err := json.Unmarshal(value, &s); err != nil {
		return s, fmt.Errorf("decoding what is known of an endpoint: %w", err)
	}
	return s, nil
}

// decodeEntry reads the value at queuePrefix and rest.
func decodeEntry(rest string, value []byte) (endpoint, id string, e entry, err error) {
	endpoint, id, ok := strings.Cut(rest, "/")
	if !ok || endpoint == "" || id == "" {
		return "", "", e, errors.New("decoding a delivery: the key names no endpoint and id")
	}
	if err := json.Unmarshal(value, &e); err != nil {
		return "", "", e, fmt.Errorf("decoding a delivery: %w", err)
	}
	if e.Event == "" || e.Body == "" || e.Queued.IsZero() {
		return "", "", e, errors.New("decoding a delivery: it has no event, body or time")
	}
	return endpoint, id, e, nil
}

func encode(v any) []byte {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts, times and numbers only
	}
	return out
}
