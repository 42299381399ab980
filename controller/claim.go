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

// Claim finds out whether another tenant held the hostname before, or holds the
// one that shares its challenges.
func (c *Controller) claim(ctx context.Context, r *v1alpha3.DomainRecord) (claim, error) {
	k := claim{key: releasedKey(r.Spec.Name)}
	h, revision, err := c.holder(ctx, r.Spec.Name)
	if errors.Is(err, store.ErrDamaged) { // whoever it was: the verified stay so, all others bring a token
		if h, err = nil, nil; !isTrue(&r.Status, v1alpha3.ConditionOwnershipVerified) {
			h = &holder{Owner: unreadableOwner}
		}
	}
	if err != nil {
		return k, err
	}
	if h != nil {
		k.revision, k.held = revision, h.UID == r.UID
	}
	needed := h != nil && (k.held && h.Token || !k.held && h.Owner != r.Owner())
	if !needed && !isTrue(&r.Status, v1alpha3.ConditionOwnershipVerified) {
		needed, err = c.contested(ctx, r)
	}
	if needed {
		k.token = v1alpha3.VerifyToken(r.UID)
	}
	return k, err
}

// Token is what alone proves the hostname of a new record that another tenant's
// record held, or shares its challenges with; "" where the plain challenge does.
func (c *Controller) Token(ctx context.Context, r *v1alpha3.DomainRecord) (string, error) {
	k, err := c.claim(ctx, r)
	return k.token, err
}

// Contested reports whether what the customer created for another tenant would
// prove an unverified record: a wildcard and its base have one _acme-challenge
// and one _apoxy-challenge, and so who asks second brings a token.
func (c *Controller) contested(ctx context.Context, r *v1alpha3.DomainRecord) (bool, error) {
	other := "*." + r.Spec.Name
	if v1alpha3.IsWildcard(r.Spec.Name) {
		other = v1alpha3.BaseName(r.Spec.Name)
	}
	h, _, err := c.holder(ctx, other)
	if errors.Is(err, store.ErrDamaged) {
		return true, nil // perhaps another's
	}
	if err != nil || h != nil && h.Owner != r.Owner() {
		return err == nil, err
	}
	live, ok := c.cfg.Table.Get(other)
	if !ok || live.Owner == r.Owner() {
		return false, nil
	}
	v, err := c.read(ctx, live.Name)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	mine, theirs := &r.CreationTimestamp, &v.record.CreationTimestamp
	return theirs.Before(mine) || theirs.Equal(mine) && v1alpha3.IsWildcard(r.Spec.Name), nil
}

func releasedKey(hostname string) string { return "released/" + hostname }

// UnreadableOwner is no value of a label: it differs from every owner.
const unreadableOwner = "\x00unreadable"

// Holder reads who last held a hostname; nil: nobody is remembered. The error of
// an entry that cannot be read wraps store.ErrDamaged; the revision is valid then.
func (c *Controller) holder(ctx context.Context, hostname string) (*holder, int64, error) {
	entry, _, err := c.cfg.Store.Get(ctx, releasedKey(hostname))
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, entry.Revision, fmt.Errorf("reading who held %s before: %w", hostname, err)
	}
	h := new(holder)
	if err := json.Unmarshal(entry.Value, h); err != nil {
		store.Report(c.cfg.Store, entry.Key, entry.Revision, err)
		return nil, entry.Revision, fmt.Errorf("decoding who held %s before: %w", hostname,
			&store.DamagedError{Key: entry.Key, Revision: entry.Revision, Reason: "it does not decode"})
	}
	return h, entry.Revision, nil
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
