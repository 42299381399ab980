package v1alpha3

import (
	_ "embed"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

// typesSource is where the descriptions in the schemas come from, so that what
// kubectl explain says and what the source says cannot part ways.
//
//go:embed types.go
var typesSource string

// doc is the comment of a type or field: its text, and its markers, the lines
// that begin with "+".
type doc struct {
	text    string
	markers []marker
}

// marker is "+key=value" or "+key".
type marker struct{ key, value string }

func (d doc) has(key string) bool {
	for _, m := range d.markers {
		if m.key == key {
			return true
		}
	}
	return false
}

// apply writes what the markers ask for into a schema.
func (d doc) apply(s *spec.Schema) {
	for _, m := range d.markers {
		switch m.key {
		case "listType":
			s.AddExtension("x-kubernetes-list-type", m.value)
		case "listMapKey":
			s.AddExtension("x-kubernetes-list-map-keys", []any{m.value})
		case "structType":
			s.AddExtension("x-kubernetes-map-type", m.value)
		case "patchStrategy":
			s.AddExtension("x-kubernetes-patch-strategy", m.value)
		case "patchMergeKey":
			s.AddExtension("x-kubernetes-patch-merge-key", m.value)
		case "kubebuilder:validation:Enum":
			s.Enum = nil
			for v := range strings.SplitSeq(m.value, ";") {
				if s.Type.Contains("integer") {
					s.Enum = append(s.Enum, *number(v))
				} else {
					s.Enum = append(s.Enum, v)
				}
			}
		case "kubebuilder:validation:Minimum":
			s.Minimum = number(m.value)
		case "kubebuilder:validation:Maximum":
			s.Maximum = number(m.value)
		}
	}
}

func number(s string) *float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		panic("the marker's value " + strconv.Quote(s) + " is no number")
	}
	return &f
}

// docsOf returns a struct's comments by JSON name, the type's own under "".
func docsOf(t reflect.Type) map[string]doc {
	if isOwn(t) {
		return ownDocs()[t.Name()]
	}
	docs := map[string]doc{}
	if s, ok := reflect.Zero(t).Interface().(interface{ SwaggerDoc() map[string]string }); ok {
		for name, text := range s.SwaggerDoc() {
			docs[name] = doc{text: text}
		}
	}
	for name, markers := range metaMarkers[t.Name()] {
		d := docs[name]
		d.markers = markers
		docs[name] = d
	}
	return docs
}

// markersOf returns the markers of a named type that is no struct.
func markersOf(t reflect.Type) doc {
	if isOwn(t) {
		return ownDocs()[t.Name()][""]
	}
	if markers, ok := metaMarkers[t.Name()]; ok {
		return doc{markers: markers[""]}
	}
	return doc{}
}

// metaMarkers are the markers of apimachinery's types, which its compiled code
// does not carry: type → field → markers.
var metaMarkers = map[string]map[string][]marker{
	"ObjectMeta": {
		"ownerReferences": {{"listType", "map"}, {"listMapKey", "uid"}, {"patchStrategy", "merge"}, {"patchMergeKey", "uid"}},
		"finalizers":      {{"listType", "set"}, {"patchStrategy", "merge"}},
		"managedFields":   {{"listType", "atomic"}},
	},
	"OwnerReference":  {"": {{"structType", "atomic"}}},
	"DeleteOptions":   {"dryRun": {{"listType", "atomic"}}},
	"StatusDetails":   {"causes": {{"listType", "atomic"}}},
	"ConditionStatus": {"": {{"kubebuilder:validation:Enum", "True;False;Unknown"}}},
}

// ownDocs reads the comments of types.go: type → JSON name → comment.
var ownDocs = sync.OnceValue(func() map[string]map[string]doc {
	file, err := parser.ParseFile(token.NewFileSet(), "types.go", typesSource, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		panic("parsing the embedded types.go: " + err.Error())
	}
	docs := map[string]map[string]doc{}
	for _, decl := range file.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.TYPE {
			continue
		}
		for _, s := range gen.Specs {
			ts := s.(*ast.TypeSpec)
			docs[ts.Name.Name] = typeDocs(gen.Doc, ts.Type)
		}
	}
	return docs
})

func typeDocs(comment *ast.CommentGroup, expr ast.Expr) map[string]doc {
	docs := map[string]doc{"": readDoc(comment)}
	if st, ok := expr.(*ast.StructType); ok {
		for _, f := range st.Fields.List {
			if f.Tag == nil {
				continue
			}
			tag, _ := strconv.Unquote(f.Tag.Value)
			name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
			if name != "" {
				docs[name] = readDoc(f.Doc)
			}
		}
	}
	return docs
}

func readDoc(comment *ast.CommentGroup) doc {
	var d doc
	var words []string
	for line := range strings.SplitSeq(comment.Text(), "\n") {
		line = strings.TrimSpace(line)
		if m, ok := strings.CutPrefix(line, "+"); ok {
			key, value, _ := strings.Cut(m, "=")
			d.markers = append(d.markers, marker{key, value})
		} else if line != "" {
			words = append(words, line)
		}
	}
	d.text = strings.Join(words, " ")
	return d
}
