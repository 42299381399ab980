package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// delete answers DELETE …/domainrecords/NAME.
func (c *call) delete() error {
	c.verb = "delete"
	o, err := c.deleteOptions()
	if err != nil {
		return err
	}
	if c.media, err = negotiate(c.r, objectOffers, false); err != nil {
		return err
	}
	r, gone, err := c.s.deleteRecord(c.r.Context(), c.name, o)
	if err != nil {
		return err
	}
	if !gone {
		return c.sendRecord(http.StatusOK, r)
	}
	c.media.as = ""
	return c.send(http.StatusOK, deleted(r))
}

// deleted is the Status that answers a deletion.
func deleted(r *v1alpha3.DomainRecord) *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"},
		Status:   metav1.StatusSuccess,
		Details: &metav1.StatusDetails{
			Name: r.Name, Group: v1alpha3.Group, Kind: v1alpha3.Resource, UID: r.UID,
		},
	}
}

// deleteRecord deletes a record, or marks it deleted while finalizers hold it.
// Every propagation policy is as Background: nothing depends on a record, and
// no garbage collector runs that would lift a finalizer of its own.
func (s *Server) deleteRecord(ctx context.Context, name string, o *metav1.DeleteOptions) (r *v1alpha3.DomainRecord, gone bool, err error) {
	for attempt := 0; ; attempt++ {
		if attempt == 1 {
			defer s.locks.lock(name)()
		}
		r, gone, err = s.tryDelete(ctx, name, o)
		if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
			if err := ctx.Err(); err != nil {
				return nil, false, err
			}
			continue
		}
		return r, gone, err
	}
}

// DeleteUnproven deletes the named record if it has this uid and was never
// verified; otherwise, and if there is none, it does nothing. What the store
// fails with is returned.
func (s *Server) DeleteUnproven(ctx context.Context, name string, uid types.UID) error {
	live, _, err := s.load(ctx, name)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	case live.UID != uid || live.Proven():
		return nil
	}
	// The revision holds what was just read to the moment of the deletion.
	_, _, err = s.deleteRecord(ctx, name, &metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &live.ResourceVersion},
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // written meanwhile: the next look finds out
	}
	return err
}

func (s *Server) tryDelete(ctx context.Context, name string, o *metav1.DeleteOptions) (*v1alpha3.DomainRecord, bool, error) {
	live, rev, err := s.load(ctx, name)
	if errors.Is(err, store.ErrDamaged) {
		r, err := s.removeDamaged(ctx, name, rev, o)
		return r, true, err
	}
	if err != nil {
		return nil, false, err
	}
	if err := checkDeletePreconditions(live, o.Preconditions); err != nil {
		return nil, false, err
	}
	dryRun := len(o.DryRun) > 0
	if len(live.Finalizers) == 0 {
		r, err := s.remove(ctx, live, rev, dryRun)
		return r, true, err
	}
	if live.DeletionTimestamp != nil {
		return live, false, nil
	}
	next := live.DeepCopy()
	now := metav1.NewTime(s.cfg.Now().UTC()).Rfc3339Copy()
	zero := int64(0)
	next.DeletionTimestamp, next.DeletionGracePeriodSeconds = &now, &zero
	next.Generation++
	data, err := s.encodeKeyValue(next)
	if err != nil {
		return nil, false, err
	}
	r, err := s.commit(ctx, next, dryRun, store.Op{Key: recordKey(name), Value: data, If: rev})
	return r, false, err
}

func checkDeletePreconditions(live *v1alpha3.DomainRecord, p *metav1.Preconditions) error {
	if p == nil {
		return nil
	}
	if p.UID != nil && *p.UID != live.UID {
		return apierrors.NewConflict(v1alpha3.GroupResource, live.Name,
			//lint:ignore ST1005 Kubernetes' words, which clients match
			fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", *p.UID, live.UID))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != live.ResourceVersion {
		return apierrors.NewConflict(v1alpha3.GroupResource, live.Name,
			//lint:ignore ST1005 as above
			fmt.Errorf("Precondition failed: ResourceVersion in precondition: %v, ResourceVersion in object meta: %v", *p.ResourceVersion, live.ResourceVersion))
	}
	return nil
}

// deleteOptions come in the body or, if it is empty, in the query.
func (c *call) deleteOptions() (*metav1.DeleteOptions, error) {
	body, err := c.readBody()
	if err != nil {
		return nil, err
	}
	o := new(metav1.DeleteOptions)
	switch {
	case len(body) == 0:
		if err := metav1.Convert_url_Values_To_v1_DeleteOptions(&c.query, o, nil); err != nil {
			return nil, apierrors.NewBadRequest("reading the query parameters: " + err.Error())
		}
	case bodyType(c.r) == typeYAML:
		if body, _, err = fromYAML(body, c.s.objectBounds()); err != nil {
			return nil, err
		}
		fallthrough
	case bodyType(c.r) == typeJSON:
		if err := weigh(body, c.s.objectBounds()); err != nil {
			return nil, err
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(body, o); err != nil {
			return nil, apierrors.NewBadRequest("decoding DeleteOptions: " + err.Error())
		}
		if o.Kind != "" && o.Kind != "DeleteOptions" {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("the body must be DeleteOptions, not %.64q", o.Kind))
		}
	default:
		return nil, errUnsupportedMedia(typeJSON, typeYAML)
	}
	if errs := metav1validation.ValidateDeleteOptions(o); len(errs) > 0 {
		return nil, errOptions("DeleteOptions", errs)
	}
	return o, nil
}

// deleteCollection answers DELETE …/domainrecords with the list of what it
// deleted, as Kubernetes does.
func (c *call) deleteCollection() error {
	o, err := c.deleteOptions()
	if err != nil {
		return err
	}
	l, err := c.listOptions()
	if err != nil {
		return err
	}
	if c.media, err = negotiate(c.r, listOffers, false); err != nil {
		return err
	}
	ctx := c.r.Context()
	res, err := c.s.list(ctx, l)
	if err != nil {
		return err
	}
	enc := c.s.itemEncoder(c.media, l.include)
	w := newListWriter(c, enc)
	names, err := res.collectNames(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		r, _, err := c.s.deleteRecord(ctx, name, o)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return err
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encoding record %q: %w", name, err)
		}
		if err := w.hold(raw); err != nil {
			return err
		}
	}
	return w.finish(metav1.ListMeta{ResourceVersion: formatRevision(res.revision)})
}
