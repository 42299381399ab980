package apiserver

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Server-side apply (structured-merge-diff) tracks the owners of members, not of
// the object around them. When the owner of the last member drops it, the object
// goes, even if another manager applied the object empty. For objects whose mere
// presence means something (v1alpha3.Switch, such as `tls: {}`) that is wrong.
// While managed fields are computed, each of them therefore has one member more,
// the mark, which every manager owns that applied or made the object: the object
// stays as long as one of them does. Nothing outside of fieldManagers sees a mark.

// mark is the member's name. No field of a client has it: it is in no schema that
// is published, and what is not in those is dropped.
const mark = "~there"

// markedPaths are the objects that are kept when they are empty.
var markedPaths = func() (paths [][]string) {
	for _, s := range v1alpha3.Switches() {
		if s.Empty {
			paths = append(paths, s.Path)
		}
	}
	return paths
}()

// markedSchemas are the API's schemas with the mark among the members of every
// object that can have one.
func markedSchemas() (map[string]*spec.Schema, error) {
	all := maps.Clone(v1alpha3.OpenAPISchemas())
	for _, path := range markedPaths {
		name := v1alpha3.SchemaPrefix + v1alpha3.Kind
		for _, key := range path {
			p, ok := all[name].Properties[key]
			if ok && len(p.AllOf) == 1 {
				p = p.AllOf[0]
			}
			if name = refName(p.Ref.String()); all[name] == nil {
				return nil, fmt.Errorf("finding the schema of %s: %s has none", strings.Join(path, "."), key)
			}
		}
		object := *all[name]
		object.Properties = maps.Clone(object.Properties)
		object.Properties[mark] = spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"boolean"}}}
		all[name] = &object
	}
	return all, nil
}

// at returns the object at a path of members.
func at(object map[string]any, path []string) (map[string]any, bool) {
	for _, key := range path {
		next, ok := object[key].(map[string]any)
		if !ok {
			return nil, false
		}
		object = next
	}
	return object, true
}

// setMarks puts marks into a tree and returns the paths of the objects that have
// one now.
func setMarks(tree map[string]any) (there [][]string) {
	for _, path := range markedPaths {
		if object, ok := at(tree, path); ok {
			object[mark] = true
			there = append(there, path)
		}
	}
	return there
}

// dropMarks takes the marks out of a tree.
func dropMarks(tree map[string]any) {
	for _, path := range markedPaths {
		if object, ok := at(tree, path); ok {
			delete(object, mark)
		}
	}
}

// setOwners makes managed fields those of a tree with marks at paths: whoever
// applied such an object, or made it by an update, owns its mark.
func setOwners(entries []metav1.ManagedFieldsEntry, paths [][]string) []metav1.ManagedFieldsEntry {
	return rewrite(entries, paths, func(set *fieldpath.Set, object fieldpath.Path, applied bool) *fieldpath.Set {
		inside := !below(set, object).Empty()
		if !set.Has(object) && (!applied || !inside) {
			return set
		}
		if applied && !inside { // an empty object is a leaf; with a mark it is not empty
			set = set.Difference(fieldpath.NewSet(object))
		}
		return set.Union(fieldpath.NewSet(marked(object)))
	})
}

// dropOwners makes managed fields with marks those of the tree without. A manager
// that owns a mark owns the object itself. That is not written down for a manager
// that applied the object with members, because Kubernetes writes only those down.
func dropOwners(entries []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
	return rewrite(entries, markedPaths, func(set *fieldpath.Set, object fieldpath.Path, applied bool) *fieldpath.Set {
		if !set.Has(marked(object)) {
			return set
		}
		set = set.Difference(fieldpath.NewSet(marked(object)))
		if applied && !below(set, object).Empty() {
			return set
		}
		return set.Union(fieldpath.NewSet(object))
	})
}

func marked(object fieldpath.Path) fieldpath.Path {
	return append(object.Copy(), fieldpath.PathElement{FieldName: new(mark)})
}

// below is the part of a set that lies inside an object.
func below(set *fieldpath.Set, object fieldpath.Path) *fieldpath.Set {
	for _, e := range object {
		set = set.WithPrefix(e)
	}
	return set
}

// rewrite returns the managed fields of a record with a change made to those of
// the record itself, not of its subresources. What does not decode stays as it is,
// for its reader to judge.
func rewrite(entries []metav1.ManagedFieldsEntry, paths [][]string, change func(set *fieldpath.Set, object fieldpath.Path, applied bool) *fieldpath.Set) []metav1.ManagedFieldsEntry {
	if len(entries) == 0 || len(paths) == 0 {
		return entries
	}
	entries = slices.Clone(entries)
	for i := range entries {
		if e := &entries[i]; e.Subresource == "" && mentions(e, paths) {
			rewriteEntry(e, paths, change)
		}
	}
	return entries
}

// mentions tells whether an entry can own anything at the paths, so that most are
// not decoded for nothing.
func mentions(e *metav1.ManagedFieldsEntry, paths [][]string) bool {
	return e.FieldsV1 != nil && slices.ContainsFunc(paths, func(path []string) bool {
		return strings.Contains(e.FieldsV1.GetRawString(), `"f:`+path[len(path)-1]+`"`)
	})
}

func rewriteEntry(e *metav1.ManagedFieldsEntry, paths [][]string, change func(set *fieldpath.Set, object fieldpath.Path, applied bool) *fieldpath.Set) {
	set := new(fieldpath.Set)
	if err := set.FromJSON(bytes.NewReader(e.FieldsV1.GetRawBytes())); err != nil {
		return
	}
	now := set
	for _, path := range paths {
		parts := make([]any, len(path))
		for i := range path {
			parts[i] = path[i]
		}
		now = change(now, fieldpath.MakePathOrDie(parts...), e.Operation == metav1.ManagedFieldsOperationApply)
	}
	if now.Equals(set) {
		return
	}
	raw, err := now.ToJSON()
	if err != nil {
		return
	}
	e.FieldsV1 = new(metav1.FieldsV1)
	e.FieldsV1.SetRawBytes(raw)
}

// dropMarksApplied takes the marks out of kubectl's annotation, into which the
// merge writes a configuration of kubectl's as it came.
func dropMarksApplied(u *unstructured.Unstructured) error {
	annotations := u.GetAnnotations()
	text := annotations[lastApplied]
	if !strings.Contains(text, mark) {
		return nil
	}
	obj, _, err := unstructured.UnstructuredJSONScheme.Decode([]byte(text), nil, nil)
	applied, ok := obj.(*unstructured.Unstructured)
	if err != nil || !ok {
		return errors.Join(errors.New("reading the applied configuration from its annotation"), err)
	}
	dropMarks(applied.Object)
	raw, err := runtime.Encode(unstructured.UnstructuredJSONScheme, applied)
	if err != nil {
		return fmt.Errorf("writing the applied configuration into its annotation: %w", err)
	}
	annotations[lastApplied] = string(raw)
	u.SetAnnotations(annotations)
	return nil
}
