package v1alpha3

import (
	"reflect"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/kube-openapi/pkg/validation/spec"
)

const (
	// SchemaPrefix begins the schema names of this package's types, such as
	// dev.apoxy.core.v1alpha3.DomainRecord.
	SchemaPrefix = "dev.apoxy.core.v1alpha3."
	// SchemaPrefixMeta begins those of apimachinery's types, such as
	// io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta.
	SchemaPrefixMeta = "io.k8s.apimachinery.pkg.apis.meta.v1."

	gvkExtension = "x-kubernetes-group-version-kind"
)

// OpenAPISchemas returns the schemas of every type that the API's bodies hold,
// by name, for OpenAPI v3 (#/components/schemas/): managed fields are computed
// from the same map. It is shared and must not be modified.
var OpenAPISchemas = sync.OnceValue(func() map[string]*spec.Schema {
	return buildSchemas("#/components/schemas/", true)
})

// OpenAPIDefinitions is OpenAPISchemas for OpenAPI v2 (#/definitions/), where a
// reference with a description is written without allOf.
var OpenAPIDefinitions = sync.OnceValue(func() map[string]*spec.Schema {
	return buildSchemas("#/definitions/", false)
})

func buildSchemas(refPrefix string, allOf bool) map[string]*spec.Schema {
	b := schemaBuilder{refPrefix: refPrefix, allOf: allOf, out: map[string]*spec.Schema{}}
	for _, v := range []any{
		DomainRecord{}, DomainRecordList{}, SetupLink{},
		metav1.Status{}, metav1.DeleteOptions{}, metav1.Patch{},
	} {
		b.schemaOf(reflect.TypeOf(v))
	}
	own := map[string]any{"group": Group, "version": Version}
	core := map[string]any{"group": "", "version": "v1"}
	b.kind(SchemaPrefix+Kind, Kind, own)
	b.kind(SchemaPrefix+ListKind, ListKind, own)
	b.kind(SchemaPrefix+SetupLinkKind, SetupLinkKind, own)
	b.kind(SchemaPrefixMeta+"Status", "Status", core)
	b.kind(SchemaPrefixMeta+"DeleteOptions", "DeleteOptions", core, own)
	return b.out
}

// schemaBuilder derives schemas from Go types: shape and names from the types,
// words and rules from their comments.
type schemaBuilder struct {
	refPrefix string
	allOf     bool
	out       map[string]*spec.Schema
}

// kind marks a schema as that of a kind in some group versions.
func (b *schemaBuilder) kind(name, kind string, groupVersions ...map[string]any) {
	list := make([]any, 0, len(groupVersions))
	for _, gv := range groupVersions {
		list = append(list, map[string]any{"group": gv["group"], "version": gv["version"], "kind": kind})
	}
	b.out[name].AddExtension(gvkExtension, list)
}

// schemaOf returns what stands for a type where it is used: a reference for
// structs, the schema itself for everything else.
func (b *schemaBuilder) schemaOf(t reflect.Type) spec.Schema {
	switch t.Kind() {
	case reflect.Pointer:
		return b.schemaOf(t.Elem())
	case reflect.Struct:
		name := schemaName(t)
		if _, done := b.out[name]; !done {
			b.out[name] = &spec.Schema{} // ends recursion
			*b.out[name] = b.structSchema(t)
		}
		return spec.Schema{SchemaProps: spec.SchemaProps{Ref: spec.MustCreateRef(b.refPrefix + name)}}
	case reflect.Slice:
		items := b.schemaOf(t.Elem())
		return schemaOfType("array", "", func(s *spec.Schema) { s.Items = &spec.SchemaOrArray{Schema: &items} })
	case reflect.Map:
		values := b.schemaOf(t.Elem())
		return schemaOfType("object", "", func(s *spec.Schema) {
			s.AdditionalProperties = &spec.SchemaOrBool{Allows: true, Schema: &values}
		})
	case reflect.Bool:
		return schemaOfType("boolean", "", nil)
	case reflect.Int32:
		return schemaOfType("integer", "int32", nil)
	case reflect.Int64:
		return schemaOfType("integer", "int64", nil)
	case reflect.String:
		return schemaOfType("string", "", markersOf(t).apply)
	}
	panic("no schema for the type " + t.String())
}

// structSchema is the schema of a struct itself.
func (b *schemaBuilder) structSchema(t reflect.Type) spec.Schema {
	docs := docsOf(t)
	if s, ok := special(t); ok {
		s.Description = docs[""].text
		return s
	}
	s := schemaOfType("object", "", docs[""].apply)
	s.Description = docs[""].text
	s.Properties = map[string]spec.Schema{}
	b.addFields(&s, t, docs)
	return s
}

func (b *schemaBuilder) addFields(s *spec.Schema, t reflect.Type, docs map[string]doc) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
			continue
		case name == "" && f.Anonymous:
			b.addFields(s, f.Type, docsOf(f.Type))
			continue
		}
		d := docs[name]
		s.Properties[name] = b.property(f.Type, d)
		if !strings.Contains(options, "omitempty") && !strings.Contains(options, "omitzero") || d.has("required") {
			s.Required = append(s.Required, name)
		}
	}
}

// property is the schema of a field: its type's, with the field's own words.
func (b *schemaBuilder) property(t reflect.Type, d doc) spec.Schema {
	p := b.schemaOf(t)
	if p.Ref.String() != "" && b.allOf {
		p = spec.Schema{SchemaProps: spec.SchemaProps{AllOf: []spec.Schema{p}}}
	}
	p.Description = d.text
	d.apply(&p)
	return p
}

// special gives the structs whose JSON is not an object of their fields.
func special(t reflect.Type) (spec.Schema, bool) {
	switch t {
	case reflect.TypeFor[metav1.Time](), reflect.TypeFor[metav1.MicroTime]():
		return schemaOfType("string", "date-time", nil), true
	case reflect.TypeFor[metav1.FieldsV1](), reflect.TypeFor[metav1.Patch]():
		return schemaOfType("object", "", nil), true
	}
	return spec.Schema{}, false
}

func schemaOfType(name, format string, more func(*spec.Schema)) spec.Schema {
	s := spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{name}, Format: format}}
	if more != nil {
		more(&s)
	}
	return s
}

func schemaName(t reflect.Type) string {
	if isOwn(t) {
		return SchemaPrefix + t.Name()
	}
	return SchemaPrefixMeta + t.Name()
}

func isOwn(t reflect.Type) bool { return t.PkgPath() == reflect.TypeFor[DomainRecord]().PkgPath() }
