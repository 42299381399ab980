package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/google/uuid"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	// As in Kubernetes: a generated name is a prefix and five random letters,
	// together no longer than a label; so many are tried.
	generatedSuffix   = 5
	generatedPrefix   = 63 - generatedSuffix
	generatedAttempts = 8
)

// create answers POST …/domainrecords.
func (c *call) create() error {
	o, err := c.writeOptions("CreateOptions", "")
	if err != nil {
		return err
	}
	if c.media, err = negotiate(c.r, objectOffers, false); err != nil {
		return err
	}
	r, err := c.readObject(o.validation)
	if err != nil {
		return err
	}
	v1alpha3.Default(r)
	c.name = r.Name
	clearSystemFields(r)
	if err := c.s.managers.track(nil, r, "", o.manager); err != nil {
		return err
	}
	if r, err = c.s.createNamed(c.r.Context(), r, o); err != nil {
		return err
	}
	return c.sendRecord(http.StatusCreated, r)
}

// createNamed creates r, finding a free name first if it asks for one.
func (s *Server) createNamed(ctx context.Context, r *v1alpha3.DomainRecord, o writeOptions) (*v1alpha3.DomainRecord, error) {
	if r.Name != "" || r.GenerateName == "" {
		return s.insert(ctx, r, o)
	}
	prefix := r.GenerateName
	if len(prefix) > generatedPrefix {
		prefix = prefix[:generatedPrefix]
	}
	var err error
	for range generatedAttempts {
		named := r.DeepCopy()
		named.Name = prefix + rand.String(generatedSuffix)
		var created *v1alpha3.DomainRecord
		if created, err = s.insert(ctx, named, o); !errors.Is(err, errNameTaken) {
			return created, err
		}
	}
	return nil, apierrors.NewGenerateNameConflict(v1alpha3.GroupResource, r.GenerateName, 1)
}

// errNameTaken marks, inside an AlreadyExists, that it is the name and not the
// hostname that another record has.
var errNameTaken = errors.New("the name is taken")

// insert validates a defaulted record whose managed fields are set and writes
// it, if neither its name nor its hostname is taken at that moment.
func (s *Server) insert(ctx context.Context, r *v1alpha3.DomainRecord, o writeOptions) (*v1alpha3.DomainRecord, error) {
	if r.ResourceVersion != "" {
		return nil, apierrors.NewBadRequest("resourceVersion should not be set on objects to be created")
	}
	r.TypeMeta = typeMeta
	r.UID = types.UID(uuid.NewString())
	r.CreationTimestamp = metav1.NewTime(s.cfg.Now().UTC()).Rfc3339Copy()
	r.Generation = 1
	r.Status = v1alpha3.DomainRecordStatus{}
	errs := v1alpha3.Validate(r, s.validation())
	nameless := r.Name == "" && len(errs) > 0 // the name would have come from spec.name, which is named already
	for _, err := range validateMetadata(r) {
		if !nameless || err.Field != "metadata.name" {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, invalid(r.Name, errs)
	}
	if s.cfg.Prepare != nil {
		s.cfg.Prepare(r)
	}
	data, err := s.encodeEntry(r)
	if err != nil {
		return nil, err
	}
	created, err := s.commit(ctx, r, o.dryRun,
		store.Op{Key: recordKey(r.Name), Value: data, If: store.Absent},
		store.Op{Key: hostnameKey(r.Spec.Name), Value: []byte(r.Name), If: store.Absent})
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
		if conflict.Key == recordKey(r.Name) {
			return nil, errors.Join(apierrors.NewAlreadyExists(v1alpha3.GroupResource, r.Name), errNameTaken)
		}
		if !o.dryRun && s.freed(ctx, r.Spec.Name) {
			return s.insert(ctx, r, o)
		}
		return nil, s.errHeld(ctx, r)
	}
	return created, err
}

// errHeld is the answer to a second record for one hostname; it names the first.
func (s *Server) errHeld(ctx context.Context, r *v1alpha3.DomainRecord) error {
	holder := "another domainrecord"
	if e, _, err := s.cfg.Store.Get(ctx, hostnameKey(r.Spec.Name)); err == nil {
		if string(e.Value) == r.Name {
			return errors.Join(apierrors.NewAlreadyExists(v1alpha3.GroupResource, r.Name), errNameTaken)
		}
		holder = fmt.Sprintf("domainrecord %q", e.Value)
	}
	err := apierrors.NewAlreadyExists(v1alpha3.GroupResource, r.Name)
	message := fmt.Sprintf("hostname %q is already held by %s", r.Spec.Name, holder)
	err.ErrStatus.Message = fmt.Sprintf("%s %q cannot be created: %s", v1alpha3.GroupResource, r.Name, message)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeFieldValueDuplicate, Field: "spec.name", Message: message,
	}}
	return err
}

// clearSystemFields drops what only the server may set on a new record.
func clearSystemFields(r *v1alpha3.DomainRecord) {
	r.Namespace = ""
	//lint:ignore SA1019 a client may still send it
	r.SelfLink = ""
	r.UID, r.Generation = "", 0
	r.CreationTimestamp = metav1.Time{}
	r.DeletionTimestamp, r.DeletionGracePeriodSeconds = nil, nil
	r.Status = v1alpha3.DomainRecordStatus{}
}

func (s *Server) validation() v1alpha3.ValidationOptions {
	return v1alpha3.ValidationOptions{Zone: s.cfg.Zone(), Reserved: s.cfg.Reserved}
}

// maxLabels bounds all labels of a record together, in bytes, as Kubernetes
// bounds annotations: they are kept in memory for every hostname.
const maxLabels = 64 << 10

func validateMetadata(r *v1alpha3.DomainRecord) field.ErrorList {
	errs := v1alpha3.ValidateMetadata(r)
	return append(errs, validateLabelsSize(r.Labels)...)
}

func validateLabelsSize(labels map[string]string) field.ErrorList {
	total := 0
	for k, v := range labels {
		total += len(k) + len(v)
	}
	if total > maxLabels {
		return field.ErrorList{field.TooLong(field.NewPath("metadata", "labels"), "", maxLabels)}
	}
	return nil
}

func invalid(name string, errs field.ErrorList) error {
	return apierrors.NewInvalid(v1alpha3.GroupVersionKind.GroupKind(), strings.ToValidUTF8(name, "?"), errs)
}

func encodeReleased(r Released) ([]byte, error) {
	data, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("encoding who released the hostname: %w", err)
	}
	return data, nil
}
