package apiserver

import (
	"fmt"
	"net/http"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// update answers PUT …/domainrecords/NAME[/status].
func (c *call) update() error {
	o, err := c.writeOptions("UpdateOptions", "")
	if err != nil {
		return err
	}
	if c.media, err = negotiate(c.r, objectOffers, false); err != nil {
		return err
	}
	body, err := c.readObject(o.validation)
	if err != nil {
		return err
	}
	if err := checkName(&body.Name, c.name); err != nil {
		return err
	}
	r, err := c.s.mutate(c.r.Context(), c.name, o.dryRun, func(live *v1alpha3.DomainRecord) (*v1alpha3.DomainRecord, error) {
		if body.ResourceVersion == "" {
			return nil, invalid(c.name, field.ErrorList{field.Invalid(
				field.NewPath("metadata", "resourceVersion"), "", "must be specified for an update")})
		}
		next := body.DeepCopy()
		return next, c.s.settle(live, next, c.sub, o.manager, false)
	})
	if err != nil {
		return err
	}
	return c.sendRecord(http.StatusOK, r)
}

// checkName holds the name in a body against that in the URL; a body without
// one gets it.
func checkName(name *string, inURL string) error {
	if *name == "" {
		*name = inURL
	}
	if *name != inURL {
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s) does not match the name on the URL (%s)", *name, inURL))
	}
	return nil
}

// settle makes next, which a client made of live, what may be stored in its
// place: preconditions checked, the other half (status or spec) and all that
// belongs to the server kept, defaults filled in, fields tracked unless
// server-side apply has done so, everything validated.
func (s *Server) settle(live, next *v1alpha3.DomainRecord, sub, manager string, tracked bool) error {
	if err := checkPreconditions(live, next); err != nil {
		return err
	}
	if sub == "status" {
		status, managed := next.Status, next.ManagedFields
		live.DeepCopyInto(next)
		next.Status, next.ManagedFields = status, managed
		keepOwnership(live, next)
	} else {
		next.Status = *live.Status.DeepCopy()
		handOver(live, next)
		keepSystemFields(live, next)
		v1alpha3.Default(next)
		if !apiequality.Semantic.DeepEqual(live.Spec, next.Spec) {
			next.Generation++
		}
	}
	next.TypeMeta = typeMeta
	if !tracked {
		if err := s.managers.track(live, next, sub, manager); err != nil {
			return err
		}
	}
	if same(live, next) {
		return nil
	}
	if errs := s.validateUpdate(live, next, sub); len(errs) > 0 {
		return invalid(live.Name, errs)
	}
	return nil
}

// keepOwnership puts the ownership that the controller has established in place of
// the client's, and notes if the client changed anything else that the controller
// writes.
func keepOwnership(live, next *v1alpha3.DomainRecord) {
	known := live.Established()
	next.Status.Ownership = known.DeepCopy()
	if !apiequality.Semantic.DeepEqual(controllers(live.Status), controllers(next.Status)) {
		next.Status.Ownership.Overwritten = true
	}
}

// controllers is the part of a status that the controller writes and a client can
// overwrite: all but ownership and conditions of other types.
func controllers(s v1alpha3.DomainRecordStatus) v1alpha3.DomainRecordStatus {
	conditions := s.Conditions
	s.Ownership, s.Conditions = nil, nil
	for _, c := range conditions {
		if v1alpha3.IsConditionType(c.Type) {
			s.Conditions = append(s.Conditions, c)
		}
	}
	return s
}

// handOver makes the new owner of a verified record, whose owner label has changed,
// the holder of its hostname. If the record is no longer verified, the owner before
// stays the holder, and the status says so from now on.
func handOver(live, next *v1alpha3.DomainRecord) {
	if !live.Proven() || live.Owner() == next.Owner() {
		return
	}
	known := live.Established()
	next.Status.Ownership = known.DeepCopy()
	if known.Verified {
		next.Status.Ownership.Owner = next.Owner()
	}
}

// checkPreconditions are the revision and the uid that a client may have put
// into the object it sends.
func checkPreconditions(live, next *v1alpha3.DomainRecord) error {
	if rv := next.ResourceVersion; rv != "" && rv != live.ResourceVersion {
		return apierrors.NewConflict(v1alpha3.GroupResource, live.Name, errModified)
	}
	if next.UID != "" && next.UID != live.UID {
		return apierrors.NewConflict(v1alpha3.GroupResource, live.Name,
			//lint:ignore ST1005 Kubernetes' words, which clients match
			fmt.Errorf("Precondition failed: UID in precondition: %v, UID in object meta: %v", next.UID, live.UID))
	}
	return nil
}

// errModified is worded as Kubernetes words it, because clients match it.
var errModified = fmt.Errorf("the object has been modified; please apply your changes to the latest version and try again")

func keepSystemFields(live, next *v1alpha3.DomainRecord) {
	next.UID = live.UID
	next.ResourceVersion = live.ResourceVersion
	next.Generation = live.Generation
	if next.CreationTimestamp.IsZero() {
		next.CreationTimestamp = live.CreationTimestamp
	}
	next.DeletionTimestamp = live.DeletionTimestamp.DeepCopy()
	next.DeletionGracePeriodSeconds = live.DeletionGracePeriodSeconds
	next.Namespace = ""
	//lint:ignore SA1019 a client may still send it
	next.SelfLink = ""
}

func (s *Server) validateUpdate(live, next *v1alpha3.DomainRecord, sub string) field.ErrorList {
	if sub == "status" {
		return validateStatus(&next.Status)
	}
	metadata := field.NewPath("metadata")
	errs := apivalidation.ValidateObjectMetaUpdate(&next.ObjectMeta, &live.ObjectMeta, metadata)
	errs = append(errs, apivalidation.ValidateFinalizers(next.Finalizers, metadata.Child("finalizers"))...)
	errs = append(errs, validateLabelsSize(next.Labels)...)
	errs = append(errs, validateManifest(next.Annotations, live.Annotations[lastApplied])...)
	// What stands unchanged is not judged again: a record that rules made
	// later would refuse can still be labelled, released and deleted.
	if !apiequality.Semantic.DeepEqual(live.Spec, next.Spec) {
		errs = append(errs, v1alpha3.ValidateUpdate(next, live, s.validation())...)
	}
	return errs
}

// validateStatus holds a status to its schema.
func validateStatus(st *v1alpha3.DomainRecordStatus) field.ErrorList {
	path := field.NewPath("status")
	errs := metav1validation.ValidateConditions(st.Conditions, path.Child("conditions"))
	switch st.Phase {
	case "", v1alpha3.PhasePending, v1alpha3.PhaseIssuing, v1alpha3.PhaseActive, v1alpha3.PhaseDetached:
	default:
		errs = append(errs, field.NotSupported(path.Child("phase"), st.Phase, []v1alpha3.Phase{
			v1alpha3.PhasePending, v1alpha3.PhaseIssuing, v1alpha3.PhaseActive, v1alpha3.PhaseDetached}))
	}
	return errs
}
