package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Released is what the store keeps at released/HOST: who last held a hostname
// whose record was deleted.
type Released struct {
	// Owner is the value of the record's owner label.
	Owner string `json:"owner"`
	// UID is that of the deleted record.
	UID types.UID `json:"uid"`
	// Time is when it was deleted.
	Time metav1.Time `json:"time"`
}

// change computes what a record becomes. It is called again, with the record as
// it then is, if another write came between.
type change func(live *v1alpha3.DomainRecord) (*v1alpha3.DomainRecord, error)

// load returns the record and its revision. The error for one that cannot be
// read wraps store.ErrDamaged; the revision is valid then.
func (s *Server) load(ctx context.Context, name string) (*v1alpha3.DomainRecord, int64, error) {
	e, _, err := s.cfg.Store.Get(ctx, recordKey(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, 0, apierrors.NewNotFound(v1alpha3.GroupResource, name)
	}
	if errors.Is(err, store.ErrDamaged) {
		return nil, e.Revision, damaged(name, err)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("reading record %q: %w", name, err)
	}
	r, err := decodeEntry(e)
	if err == nil && (r.Name != name || r.Spec.Name == "") {
		err = fmt.Errorf("it is named %.80q and has the hostname %.80q", r.Name, r.Spec.Name)
	}
	if err != nil {
		s.undecodable(e.Key, e.Revision, err)
		return nil, e.Revision, errDamaged(name, "it does not decode as a record")
	}
	return r, e.Revision, nil
}

// mutate writes what change makes of the named record. A write that changes
// nothing is none. After a conflict the change is computed anew, one writer of
// a record at a time, so that many writers of one record all get through.
func (s *Server) mutate(ctx context.Context, name string, dryRun bool, fn change) (*v1alpha3.DomainRecord, error) {
	for attempt := 0; ; attempt++ {
		if attempt == 1 {
			defer s.locks.lock(name)()
		}
		next, err := s.try(ctx, name, dryRun, fn)
		if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			continue
		}
		return next, err
	}
}

func (s *Server) try(ctx context.Context, name string, dryRun bool, fn change) (*v1alpha3.DomainRecord, error) {
	live, rev, err := s.load(ctx, name)
	if err != nil {
		return nil, err
	}
	next, err := fn(live.DeepCopy())
	if err != nil {
		return nil, err
	}
	if same(live, next) {
		return live, nil
	}
	if next.DeletionTimestamp != nil && len(next.Finalizers) == 0 {
		return s.remove(ctx, next, rev, dryRun)
	}
	data, err := s.encodeEntry(next)
	if err != nil {
		return nil, err
	}
	return s.commit(ctx, next, dryRun, store.Op{Key: recordKey(name), Value: data, If: rev})
}

// remove deletes a record that stands at rev and frees its hostname. Who held
// it is remembered if the record names an owner.
func (s *Server) remove(ctx context.Context, r *v1alpha3.DomainRecord, rev int64, dryRun bool) (*v1alpha3.DomainRecord, error) {
	ops := []store.Op{
		{Key: recordKey(r.Name), If: rev},
		{Key: hostnameKey(r.Spec.Name), If: store.Any},
	}
	released, err := s.release(ctx, r)
	if err != nil {
		return nil, err
	}
	if released != nil {
		ops = append(ops, *released)
	}
	return s.commit(ctx, r, dryRun, ops...)
}

// release is what remembers who held the hostname of a record that is deleted;
// nil: nothing new. A record that was never proven does not take the place of
// another owner's: else a tenant's second record would need no token, because
// its first, which never had it, held the hostname last.
func (s *Server) release(ctx context.Context, r *v1alpha3.DomainRecord) (*store.Op, error) {
	owner := r.Owner()
	if owner == "" {
		return nil, nil
	}
	key := releasedKey(r.Spec.Name)
	e, _, err := s.cfg.Store.Get(ctx, key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		e.Revision = store.Absent
	case errors.Is(err, store.ErrDamaged): // whose it was is unknown: only who was proven takes its place
		if !wasProven(r) {
			return nil, nil
		}
	case err != nil:
		return nil, fmt.Errorf("reading who held %q before: %w", r.Spec.Name, err)
	case !wasProven(r):
		var before Released
		if json.Unmarshal(e.Value, &before) != nil || before.Owner != owner {
			return nil, nil
		}
	}
	data, err := encodeReleased(Released{Owner: owner, UID: r.UID, Time: metav1.NewTime(s.cfg.Now().UTC())})
	if err != nil {
		return nil, err
	}
	return &store.Op{Key: key, Value: data, If: e.Revision}, nil
}

// wasProven reports whether ownership was verified at some time.
func wasProven(r *v1alpha3.DomainRecord) bool {
	c := r.Status.Condition(v1alpha3.ConditionOwnershipVerified)
	return c != nil && (c.Status == metav1.ConditionTrue || c.Reason == v1alpha3.ReasonProofWithdrawn)
}

// commit writes ops and puts the revision into r. A dry run checks the same
// conditions and writes nothing.
func (s *Server) commit(ctx context.Context, r *v1alpha3.DomainRecord, dryRun bool, ops ...store.Op) (*v1alpha3.DomainRecord, error) {
	if dryRun {
		for i := range ops {
			ops[i].Check, ops[i].Value = true, nil
		}
	}
	rev, err := s.cfg.Store.Write(ctx, ops...)
	if err != nil {
		return nil, fmt.Errorf("writing record %q: %w", r.Name, err)
	}
	if !dryRun {
		r.ResourceVersion = formatRevision(rev)
	}
	return r, nil
}

// same reports whether writing next over live would change nothing but times
// of managed fields.
func same(live, next *v1alpha3.DomainRecord) bool {
	if !sameManagers(live.ManagedFields, next.ManagedFields) {
		return false
	}
	a, b := *live, *next
	a.ManagedFields, b.ManagedFields = nil, nil
	a.TypeMeta, b.TypeMeta = typeMeta, typeMeta
	a.ResourceVersion, b.ResourceVersion = "", ""
	return apiequality.Semantic.DeepEqual(a, b)
}

// stripes are locks shared out among names by hash.
type stripes struct {
	once sync.Once
	seed maphash.Seed
	mu   [64]sync.Mutex
}

// lock takes the lock that name falls to and returns what releases it.
func (l *stripes) lock(name string) (unlock func()) {
	l.once.Do(func() { l.seed = maphash.MakeSeed() })
	mu := &l.mu[maphash.String(l.seed, name)%uint64(len(l.mu))]
	mu.Lock()
	return mu.Unlock
}
