package apiserver

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

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
	r, err := decodeKeyValue(e)
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
	if !apiequality.Semantic.DeepEqual(live.Spec.Target, next.Spec.Target) || live.WantsTLS() != next.WantsTLS() {
		if err := s.refuseLoop(ctx, next); err != nil {
			return nil, err
		}
	}
	data, err := s.encodeKeyValue(next)
	if err != nil {
		return nil, err
	}
	ops := []store.Op{{Key: recordKey(name), Value: data, If: rev}}
	if next.Verified() && next.Owner() != live.Owner() { // the new owner holds the hostname from now on
		if ops, err = s.remember(ops, next); err != nil {
			return nil, err
		}
	}
	return s.commit(ctx, next, dryRun, ops...)
}

// remove deletes a record that stands at rev and frees its hostname. Who held
// it is remembered by the same write.
func (s *Server) remove(ctx context.Context, r *v1alpha3.DomainRecord, rev int64, dryRun bool) (*v1alpha3.DomainRecord, error) {
	ops := []store.Op{
		{Key: recordKey(r.Name), If: rev},
		{Key: hostnameKey(r.Spec.Name), If: store.Any},
	}
	ops, err := s.remember(ops, r)
	if err != nil {
		return nil, err
	}
	return s.commit(ctx, r, dryRun, ops...)
}

// remember adds to the ops that end or relabel a record what is remembered of it.
func (s *Server) remember(ops []store.Op, r *v1alpha3.DomainRecord) ([]store.Op, error) {
	h := ownership.HolderOf(r, s.cfg.Now())
	if h == nil {
		return ops, nil
	}
	data, err := h.Encode()
	if err != nil {
		return nil, err
	}
	return append(ops, store.Op{Key: ownership.ReleasedKey(r.Spec.Name), Value: data, If: store.Any}), nil
}

// commit writes ops and puts the revision into r. A dry run checks the same
// conditions and writes nothing.
func (s *Server) commit(ctx context.Context, r *v1alpha3.DomainRecord, dryRun bool, ops ...store.Op) (*v1alpha3.DomainRecord, error) {
	if err := ctx.Err(); err != nil { // the client has gone: nobody wants it any more
		return nil, err
	}
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
