package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Holder is what the store keeps at released/HOST: who last held a hostname. The
// API writes it when it deletes a record with an owner; the controller writes
// the next holder in once that has proven itself by its token.
type holder struct {
	Owner string      `json:"owner"`
	UID   types.UID   `json:"uid"`
	Time  metav1.Time `json:"time"`
	// Token: the holder is verified by its token, and stays so.
	Token bool `json:"token,omitempty"`
}

// Claim is how a record may prove its hostname.
type claim struct {
	token    string // not empty: only by this token
	key      string
	revision int64
	held     bool // the holder written down is this record
}

// Claim finds out whether another tenant held the hostname before.
func (c *Controller) claim(ctx context.Context, r *v1alpha3.DomainRecord) (claim, error) {
	k := claim{key: "released/" + r.Spec.Name}
	entry, _, err := c.cfg.Store.Get(ctx, k.key)
	if errors.Is(err, store.ErrNotFound) {
		return k, nil
	}
	if err != nil {
		return k, fmt.Errorf("reading who held %s before: %w", r.Spec.Name, err)
	}
	var h holder
	if err := json.Unmarshal(entry.Value, &h); err != nil {
		return k, fmt.Errorf("decoding who held %s before: %w", r.Spec.Name, err)
	}
	k.revision, k.held = entry.Revision, h.UID == r.UID
	if k.held && h.Token || !k.held && h.Owner != r.Owner() {
		k.token = v1alpha3.VerifyToken(r.UID)
	}
	return k, nil
}

// Settled returns what makes a record that has just proven itself by its token
// the holder; nil if there is nothing to write.
func (k claim) settled(r *v1alpha3.DomainRecord, s *v1alpha3.DomainRecordStatus, now time.Time) *store.Op {
	challenge := s.DNSRecord(v1alpha3.PurposeOwnership)
	if k.token == "" || k.held || challenge == nil || !challenge.Configured ||
		!isTrue(s, v1alpha3.ConditionOwnershipVerified) {
		return nil
	}
	value, err := json.Marshal(holder{Owner: r.Owner(), UID: r.UID, Time: metav1.NewTime(now.UTC()), Token: true})
	if err != nil {
		return nil // cannot be: all fields encode
	}
	return &store.Op{Key: k.key, Value: value, If: k.revision}
}
