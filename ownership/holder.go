package ownership

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// ReleasedPrefix is that of the keys below which the store keeps holders.
const ReleasedPrefix = "released/"

// ReleasedKey is the store's key for the holder of a hostname.
func ReleasedKey(hostname string) string { return ReleasedPrefix + hostname }

// Holder is what is remembered of the last verified holder of a hostname, beyond
// the end of its record and whatever becomes of what is stored of that. API and
// controller write it, under ReleasedKey.
type Holder struct {
	// Owner is the owner that the record was last verified for.
	Owner string `json:"owner"`
	// UID is the record's.
	UID types.UID `json:"uid"`
	// Time is when it was verified, relabelled or ended, whichever was last.
	Time metav1.Time `json:"time"`
}

// HolderOf is what is to be remembered of a record; nil if it was never verified:
// that leaves no trace which could burden a later one.
func HolderOf(r *v1alpha3.DomainRecord, now time.Time) *Holder {
	if !r.Proven() {
		return nil
	}
	return &Holder{Owner: Held(r), UID: r.UID, Time: metav1.NewTime(now.UTC())}
}

// Encode returns the stored form.
func (h *Holder) Encode() ([]byte, error) {
	data, err := json.Marshal(h)
	if err != nil {
		return nil, fmt.Errorf("encoding who held a hostname: %w", err)
	}
	return data, nil
}

// DecodeHolder reads the stored form. What says nothing sensible is an error and
// a holder whom nobody knows, beside whom every owner needs a token.
func DecodeHolder(data []byte) (*Party, error) {
	var h Holder
	err := json.Unmarshal(data, &h)
	if err == nil && h.UID == "" {
		err = errors.New("it names no record")
	}
	if err != nil {
		return &Party{Unknown: true}, fmt.Errorf("decoding who held a hostname: %w", err)
	}
	return &Party{Owner: h.Owner}, nil
}

// CheckReleased says why the value at a key below ReleasedPrefix is none; nil: it
// is one.
func CheckReleased(_ string, value []byte) error {
	_, err := DecodeHolder(value)
	return err
}
