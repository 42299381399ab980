package apiserver

import (
	"encoding/binary"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Which fields a manager owns of what it creates, or applies, is a matter of the names in
// it and not of the values. Records that a platform writes have few forms, so it is worked
// out once for each: structured-merge-diff takes longer for it than all else in a write.

// shapes remembers field sets by the form of what was written. The zero value is empty.
type shapes struct {
	mu sync.RWMutex
	of map[string]*metav1.FieldsV1
}

const (
	maxShapes     = 1024
	maxShapeBytes = 4 << 10
)

func (s *shapes) get(key []byte) *metav1.FieldsV1 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.of[string(key)]
}

// put remembers what one manager owns of a new record, if that is all that was noted.
func (s *shapes) put(key []byte, entries []metav1.ManagedFieldsEntry, manager string) {
	if s == nil || len(key) == 0 || len(entries) != 1 || entries[0].Manager != manager || entries[0].FieldsV1 == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || len(s.of) >= maxShapes {
		s.of = make(map[string]*metav1.FieldsV1)
	}
	s.of[string(key)] = entries[0].FieldsV1.DeepCopy()
}

// shapeOf returns the form of an object but for its status; none if what is noted of it
// may depend on more than that.
func shapeOf(object map[string]any, manager string, operation metav1.ManagedFieldsOperationType) []byte {
	metadata, _ := object["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations[lastApplied] != nil || metadata["managedFields"] != nil || manager == "kubectl" || manager == "" {
		return nil
	}
	key := append([]byte(operation), 0)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if name != statusMember {
			key = appendShape(appendText(key, name), object[name])
		}
	}
	if len(key) > maxShapeBytes {
		return nil
	}
	return key
}

func appendText(key []byte, text string) []byte {
	return append(binary.AppendUvarint(key, uint64(len(text))), text...)
}

// appendShape appends the form of a value. Of a list it is all that is in it, since its
// items are owned by what they are.
func appendShape(key []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(key, 'n')
	case map[string]any:
		key = append(key, '{')
		for _, name := range slices.Sorted(maps.Keys(v)) {
			key = appendShape(appendText(key, name), v[name])
		}
		return append(key, '}')
	case []any:
		data, err := json.Marshal(v)
		if err != nil {
			panic(err) // it came as JSON
		}
		return appendText(append(key, '['), string(data))
	}
	return append(key, 'v')
}

// entryOf is what is noted of a new record of a known form.
func entryOf(fields *metav1.FieldsV1, manager string, operation metav1.ManagedFieldsOperationType) []metav1.ManagedFieldsEntry {
	now := metav1.Now().Rfc3339Copy()
	return []metav1.ManagedFieldsEntry{{
		Manager: manager, Operation: operation, APIVersion: v1alpha3.GroupVersion.String(), Time: &now, FieldsType: "FieldsV1", FieldsV1: fields.DeepCopy(),
	}}
}

// changesNothing reports whether a manager has applied a configuration of this form
// before and every value of it stands in the record: then applying it changes nothing.
func (s *shapes) changesNothing(live *v1alpha3.DomainRecord, config map[string]any, key []byte, manager string) bool {
	fields := s.get(key)
	if fields == nil || live.Annotations[lastApplied] != "" || !slices.ContainsFunc(live.ManagedFields, func(e metav1.ManagedFieldsEntry) bool {
		return e.Manager == manager && e.Operation == metav1.ManagedFieldsOperationApply && e.Subresource == "" &&
			e.APIVersion == v1alpha3.GroupVersion.String() && e.FieldsV1 != nil && e.FieldsV1.Equal(*fields)
	}) {
		return false
	}
	part := v1alpha3.DomainRecord{TypeMeta: typeMeta, ObjectMeta: live.ObjectMeta, Spec: live.Spec}
	part.ManagedFields = nil
	object, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&part)
	if err != nil {
		return false
	}
	for name, v := range config {
		if name != statusMember && !stands(v, object[name]) {
			return false
		}
	}
	return true
}

// stands reports whether all of a value stands in another.
func stands(v, in any) bool {
	object, ok := v.(map[string]any)
	if !ok {
		return reflect.DeepEqual(v, in)
	}
	there, ok := in.(map[string]any)
	if !ok {
		return false
	}
	for name, v := range object {
		if has, ok := there[name]; !ok || !stands(v, has) {
			return false
		}
	}
	return true
}
