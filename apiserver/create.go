package apiserver

import (
	"context"
	"errors"
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
	errs := append(v1alpha3.Validate(r, s.validation()), validateManifest(r.Annotations, "")...)
	nameless := r.Name == "" && len(errs) > 0 // the name would have come from spec.name, which is named already
	for _, err := range validateMetadata(r) {
		if !nameless || err.Field != "metadata.name" {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, invalid(r.Name, errs)
	}
	if err := s.refuseLoop(ctx, r); err != nil {
		return nil, err
	}
	created, err := s.add(ctx, r, o.dryRun)
	if conflict := (*store.ConflictError)(nil); errors.As(err, &conflict) {
		return s.replace(ctx, r, o.dryRun)
	}
	return created, err
}

// add writes a new record if its name and its hostname are free.
func (s *Server) add(ctx context.Context, r *v1alpha3.DomainRecord, dryRun bool) (*v1alpha3.DomainRecord, error) {
	data, err := s.prepare(r, nil)
	if err != nil {
		return nil, err
	}
	return s.commit(ctx, r, dryRun,
		store.Op{Key: recordKey(r.Name), Value: data, If: store.Absent},
		store.Op{Key: hostnameKey(r.Spec.Name), Value: []byte(r.Name), If: store.Absent})
}

// prepare fills in the first status of a record, which may take the place of
// another one, and returns its stored form.
func (s *Server) prepare(r, replaced *v1alpha3.DomainRecord) ([]byte, error) {
	r.Status = v1alpha3.DomainRecordStatus{}
	if s.cfg.Prepare != nil {
		s.cfg.Prepare(r, replaced)
	}
	if r.Status.Ownership == nil { // so that no client's status is ever taken for what was established
		r.Status.Ownership = new(v1alpha3.OwnershipStatus)
	}
	return s.encodeKeyValue(r)
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
	o := v1alpha3.ValidationOptions{Zone: s.cfg.Zone(), Reserved: s.cfg.Reserved}
	if s.cfg.NameServers != nil {
		o.NameServers = s.cfg.NameServers()
	}
	return o
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
