package apiserver

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// replaceAttempts bounds how often a create is tried against records that come
// and go under it.
const replaceAttempts = 8

// occupant is the record that has the hostname of one which is to be created.
type occupant struct {
	record *v1alpha3.DomainRecord
	// revision is that of the record, hostname that of the key of its hostname.
	revision, hostname int64
}

// replace creates a record whose name or hostname is taken: in place of an
// unproven claim of another owner, if the record asks for that.
func (s *Server) replace(ctx context.Context, r *v1alpha3.DomainRecord, dryRun bool) (*v1alpha3.DomainRecord, error) {
	var err error
	for range replaceAttempts {
		var created *v1alpha3.DomainRecord
		if created, err = s.tryReplace(ctx, r, dryRun); err == nil {
			return created, nil
		}
		if conflict := (*store.ConflictError)(nil); !errors.As(err, &conflict) {
			return nil, err
		}
	}
	return nil, apierrors.NewConflict(v1alpha3.GroupResource, r.Name, errModified)
}

func (s *Server) tryReplace(ctx context.Context, r *v1alpha3.DomainRecord, dryRun bool) (*v1alpha3.DomainRecord, error) {
	in, err := s.occupant(ctx, r.Spec.Name)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
		return s.addBeside(ctx, r, dryRun, err)
	}
	if err != nil {
		return nil, err
	}
	asked := r.Annotations[v1alpha3.ReplacesAnnotation]
	if may := ownership.Replaces(r, in.record); may != ownership.MayReplace || asked != in.record.Name {
		return nil, errHeld(r, in.record, may, asked)
	}
	data, err := s.prepare(r, in.record)
	if err != nil {
		return nil, err
	}
	ops := []store.Op{
		{Key: recordKey(in.record.Name), If: in.revision},
		{Key: recordKey(r.Name), Value: data, If: store.Absent},
		{Key: hostnameKey(r.Spec.Name), Value: []byte(r.Name), If: in.hostname},
	}
	if in.record.Name == r.Name {
		ops = ops[1:]
		ops[0].If = in.revision
	}
	if ops, err = s.remember(ops, in.record); err != nil {
		return nil, err
	}
	created, err := s.commit(ctx, r, dryRun, ops...)
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) && conflict.Key == recordKey(r.Name) && r.Name != in.record.Name {
		return nil, errName(r)
	}
	return created, err
}

// addBeside creates a record after occupant found no record with its hostname; why is
// that error. The hostname is free by now, its entry belongs to no record, or the
// record that has it is damaged, which is refused.
func (s *Server) addBeside(ctx context.Context, r *v1alpha3.DomainRecord, dryRun bool, why error) (*v1alpha3.DomainRecord, error) {
	created, err := s.add(ctx, r, dryRun)
	conflict := (*store.ConflictError)(nil)
	switch {
	case !errors.As(err, &conflict):
		return created, err
	case conflict.Key == recordKey(r.Name):
		return nil, errName(r)
	case !dryRun && s.freed(ctx, r.Spec.Name):
		return s.add(ctx, r, dryRun)
	case errors.Is(why, store.ErrDamaged):
		return nil, errTaken(r, fmt.Sprintf("hostname %q is already held by a domainrecord whose stored value is damaged: "+
			"delete that one by its name, which `caddy apoxy store verify` tells", r.Spec.Name))
	}
	return nil, err
}

// occupant reads the record that has a hostname. The error wraps
// store.ErrNotFound if there is none, store.ErrDamaged if it cannot be read.
func (s *Server) occupant(ctx context.Context, hostname string) (*occupant, error) {
	name, _, err := s.cfg.Store.Get(ctx, hostnameKey(hostname))
	if err != nil {
		return nil, fmt.Errorf("reading who has hostname %q: %w", hostname, err)
	}
	r, revision, err := s.load(ctx, string(name.Value))
	if apierrors.IsNotFound(err) {
		err = store.ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("reading record %q: %w", name.Value, err)
	}
	return &occupant{record: r, revision: revision, hostname: name.Revision}, nil
}

// errName is the answer to a record whose name another hostname's record has.
func errName(r *v1alpha3.DomainRecord) error {
	return errors.Join(apierrors.NewAlreadyExists(v1alpha3.GroupResource, r.Name), errNameTaken)
}

// errHeld is the answer to a second record for one hostname. It names the first
// and says whether it may be replaced.
func errHeld(r, live *v1alpha3.DomainRecord, may ownership.Replacement, asked string) error {
	if asked == "" && live.Name == r.Name && may != ownership.MayReplace {
		return errName(r)
	}
	message := fmt.Sprintf("hostname %q is already held by domainrecord %q", r.Spec.Name, live.Name)
	switch {
	case may == ownership.ReplacesVerified:
		message += " of another owner, which is verified and is not replaced"
	case may == ownership.ReplacesOwn && asked != "":
		message += " of the same owner: delete that one, or change it"
	case may == ownership.MayReplace && asked == "":
		message += fmt.Sprintf(" of another owner, which is not verified: to take its place, create this one with the annotation %s: %s",
			v1alpha3.ReplacesAnnotation, live.Name)
	case may == ownership.MayReplace:
		message += fmt.Sprintf(" of another owner, which is not verified: to take its place, the annotation %s must name it, and names %.80q",
			v1alpha3.ReplacesAnnotation, asked)
	}
	if live.Name == r.Name {
		return errors.Join(errTaken(r, message), errNameTaken)
	}
	return errTaken(r, message)
}

// errTaken is the answer to a record whose hostname is taken, in words.
func errTaken(r *v1alpha3.DomainRecord, message string) error {
	err := apierrors.NewAlreadyExists(v1alpha3.GroupResource, r.Name)
	err.ErrStatus.Message = fmt.Sprintf("%s %q cannot be created: %s", v1alpha3.GroupResource, r.Name, message)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeFieldValueDuplicate, Field: "spec.name", Message: message,
	}}
	return err
}
