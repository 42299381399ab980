package apiserver

import (
	"fmt"
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// fieldManagers keep metadata.managedFields, by subresource: who writes to one
// never comes to own fields of the other.
type fieldManagers struct {
	main, status *managedfields.FieldManager
	shapes       *shapes // nil: nothing is remembered
}

func newFieldManagers() (*fieldManagers, error) {
	schemas, err := markedSchemas()
	if err != nil {
		return nil, err
	}
	converter, err := managedfields.NewTypeConverter(schemas, false)
	if err != nil {
		return nil, fmt.Errorf("reading the schemas for server-side apply: %w", err)
	}
	build := func(sub string, reset ...fieldpath.Path) (*managedfields.FieldManager, error) {
		set := fieldpath.NewSet(reset...)
		m, err := managedfields.NewDefaultFieldManager(converter, oneVersion{}, oneVersion{}, oneVersion{},
			v1alpha3.GroupVersionKind, v1alpha3.GroupVersion, sub,
			map[fieldpath.APIVersion]fieldpath.Filter{
				fieldpath.APIVersion(v1alpha3.GroupVersion.String()): fieldpath.NewExcludeSetFilter(set),
			})
		if err != nil {
			return nil, fmt.Errorf("building the field manager for %q: %w", sub, err)
		}
		return m, nil
	}
	m := fieldManagers{shapes: new(shapes)}
	if m.main, err = build("", fieldpath.MakePathOrDie("status")); err != nil {
		return nil, err
	}
	m.status, err = build("status",
		fieldpath.MakePathOrDie("spec"),
		fieldpath.MakePathOrDie("metadata", "labels"),
		fieldpath.MakePathOrDie("metadata", "annotations"),
		fieldpath.MakePathOrDie("metadata", "finalizers"),
		fieldpath.MakePathOrDie("metadata", "ownerReferences"))
	if err != nil {
		return nil, err
	}
	return &m, nil
}

func (m *fieldManagers) of(sub string) *managedfields.FieldManager {
	if sub == "status" {
		return m.status
	}
	return m.main
}

// track brings next.ManagedFields up to date with what manager changed from
// live, which is nil for a new record. As in Kubernetes, managed fields that a
// client sent count if they decode and are sent to the record itself; else those
// of live do. What then breaks a limit is for validation to name.
func (m *fieldManagers) track(live, next *v1alpha3.DomainRecord, sub, manager string) error {
	live = withReadable(live)
	if sub != "" {
		next.ManagedFields = live.ManagedFields
	}
	liveU, err := toUnstructured(live, sub)
	if err != nil {
		return err
	}
	sent := *next
	if sub == "" {
		there := setMarks(liveU.Object)
		if len(there) > 0 {
			liveU.SetManagedFields(setOwners(live.ManagedFields, there))
		}
		sent.ManagedFields = setOwners(next.ManagedFields, there)
	}
	nextU, err := toUnstructured(&sent, sub)
	if err != nil {
		return err
	}
	var shape []byte
	if sub == "" {
		if live == nil && len(next.ManagedFields) == 0 && m.shapes != nil {
			shape = shapeOf(nextU.Object, manager, metav1.ManagedFieldsOperationUpdate)
			if known := m.shapes.get(shape); known != nil {
				next.ManagedFields = entryOf(known, manager, metav1.ManagedFieldsOperationUpdate)
				return nil
			}
		}
		setMarks(nextU.Object)
	}
	out, ok := m.of(sub).UpdateNoErrors(liveU, nextU, manager).(*unstructured.Unstructured)
	if !ok {
		return fmt.Errorf("tracking the fields of record %q: no object came back", next.Name)
	}
	next.ManagedFields = dropOwners(out.GetManagedFields())
	m.shapes.put(shape, next.ManagedFields, manager)
	return nil
}

// apply merges an applied configuration into live, which is nil for a new
// record. Conflicts with other managers are an *apierrors.StatusError.
func (m *fieldManagers) apply(live *v1alpha3.DomainRecord, config map[string]any, sub, manager string, force bool) (*v1alpha3.DomainRecord, error) {
	var shape []byte
	if sub == "" && m.shapes != nil {
		shape = shapeOf(config, manager, metav1.ManagedFieldsOperationApply)
		switch known := m.shapes.get(shape); {
		case known != nil && live == nil:
			return recordOf(config, entryOf(known, manager, metav1.ManagedFieldsOperationApply))
		case known != nil && m.shapes.changesNothing(live, config, shape, manager):
			return live, nil
		}
	}
	live = withReadable(live)
	liveU, err := toUnstructured(live, sub)
	if err != nil {
		return nil, err
	}
	patch := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(config)}
	if sub == "" {
		delete(patch.Object, statusMember)
		if there := setMarks(liveU.Object); len(there) > 0 {
			liveU.SetManagedFields(setOwners(live.ManagedFields, there))
		}
		setMarks(patch.Object)
	}
	merged, err := m.of(sub).Apply(liveU, patch, manager, force)
	if err != nil {
		return nil, err
	}
	out, ok := merged.(*unstructured.Unstructured)
	if !ok {
		return nil, fmt.Errorf("applying to record %q: no object came back", patch.GetName())
	}
	dropMarks(out.Object)
	if err := dropMarksApplied(out); err != nil {
		return nil, fmt.Errorf("applying to record %q: %w", patch.GetName(), err)
	}
	next := new(v1alpha3.DomainRecord)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(out.Object, next); err != nil {
		return nil, fmt.Errorf("applying to record %q: %w", patch.GetName(), err)
	}
	next.ManagedFields = dropOwners(next.ManagedFields)
	if live != nil && sub == "" {
		next.Status = live.Status
	}
	if live == nil {
		m.shapes.put(shape, next.ManagedFields, manager)
	}
	return next, nil
}

// recordOf is the record that a configuration makes where there is none.
func recordOf(config map[string]any, managed []metav1.ManagedFieldsEntry) (*v1alpha3.DomainRecord, error) {
	object := maps.Clone(config)
	delete(object, statusMember)
	r := new(v1alpha3.DomainRecord)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, r); err != nil {
		return nil, fmt.Errorf("applying a configuration: %w", err)
	}
	r.ManagedFields = managed
	return r, nil
}

// withReadable is a record whose managed fields a field manager can work with.
func withReadable(r *v1alpha3.DomainRecord) *v1alpha3.DomainRecord {
	if r == nil || len(r.ManagedFields) == 0 {
		return r
	}
	out := *r
	out.ManagedFields = readable(r.ManagedFields)
	return &out
}

const statusMember = "status"

// toUnstructured gives the form that field managers work on; nil is an object
// of which only the kind is known. The status is there for its subresource alone:
// who writes to the record itself owns nothing of it, and it is most of a record.
func toUnstructured(r *v1alpha3.DomainRecord, sub string) (*unstructured.Unstructured, error) {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	if r != nil {
		part := *r
		if sub == "" {
			part.Status = v1alpha3.DomainRecordStatus{}
		}
		var err error
		if u.Object, err = runtime.DefaultUnstructuredConverter.ToUnstructured(&part); err != nil {
			return nil, fmt.Errorf("converting record %q: %w", r.Name, err)
		}
		if sub == "" {
			delete(u.Object, statusMember)
		}
	}
	u.SetGroupVersionKind(v1alpha3.GroupVersionKind)
	return u, nil
}

// sameManagers compares managed fields but for their times, so that writing the
// same again is no change.
func sameManagers(a, b []metav1.ManagedFieldsEntry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.Manager != y.Manager || x.Operation != y.Operation || x.APIVersion != y.APIVersion ||
			x.FieldsType != y.FieldsType || x.Subresource != y.Subresource ||
			(x.FieldsV1 == nil) != (y.FieldsV1 == nil) {
			return false
		}
		if x.FieldsV1 != nil && !x.FieldsV1.Equal(*y.FieldsV1) {
			return false
		}
	}
	return true
}

// prune removes, in place, what the schema does not know of: an applied
// configuration with unknown fields could not be merged.
func prune(v any, name string) {
	schemas := v1alpha3.OpenAPISchemas()
	pruneBy(v, schemas[name], schemas)
}

func pruneBy(v any, s *spec.Schema, all map[string]*spec.Schema) {
	if s = resolve(s, all); s == nil {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		if len(s.Properties) == 0 {
			if s.AdditionalProperties != nil {
				for _, e := range v {
					pruneBy(e, s.AdditionalProperties.Schema, all)
				}
			}
			return
		}
		for k, e := range v {
			p, known := s.Properties[k]
			if !known || e == nil {
				delete(v, k)
				continue
			}
			pruneBy(e, &p, all)
		}
	case []any:
		if s.Items != nil {
			for _, e := range v {
				pruneBy(e, s.Items.Schema, all)
			}
		}
	}
}

// resolve follows a reference, alone or inside allOf.
func resolve(s *spec.Schema, all map[string]*spec.Schema) *spec.Schema {
	for range 8 {
		if s == nil {
			return nil
		}
		if len(s.AllOf) == 1 && len(s.Properties) == 0 {
			s = &s.AllOf[0]
			continue
		}
		ref := s.Ref.String()
		if ref == "" {
			return s
		}
		s = all[refName(ref)]
	}
	return nil
}

// oneVersion converts, defaults and creates objects of an API that has one
// version only: there is nothing to do.
type oneVersion struct{}

func (oneVersion) Convert(_, _, _ any) error { return nil }

func (oneVersion) ConvertToVersion(in runtime.Object, _ runtime.GroupVersioner) (runtime.Object, error) {
	return in, nil
}

func (oneVersion) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

func (oneVersion) Default(runtime.Object) {}

func (oneVersion) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	u := new(unstructured.Unstructured)
	u.SetGroupVersionKind(gvk)
	return u, nil
}
