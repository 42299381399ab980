// Package hostiletest makes the requests of a stranger who wants the API to
// work: bodies of any size and long queries, from named recipes, so that no
// large file need be kept. Unit tests bound the work that each causes, and a
// benchmark measures it. It knows Kubernetes' paths and media types and nothing
// of the server.
package hostiletest

import (
	"fmt"
	"strings"
)

// The media types of the bodies.
const (
	JSON      = "application/json"
	YAML      = "application/yaml"
	JSONPatch = "application/json-patch+json"
	Merge     = "application/merge-patch+json"
	Apply     = "application/apply-patch+yaml"
)

const base = "/apis/core.apoxy.dev/v1alpha3/domainrecords"

// Live is the name of the record that requests other than creates are for, and
// Fresh that of the record that creates ask for.
const (
	Live  = "live.example.com"
	Fresh = "fresh.example.com"
)

// Request is one request of a recipe.
type Request struct {
	Method, Path, Type string
	// Body is the body for a record that stands at a revision, of about size
	// bytes; nil: the request has none.
	Body func(size int, revision string) string
	// Header holds further headers.
	Header map[string]string
}

// Recipe is one idea of a stranger, in every request that can carry it.
type Recipe struct {
	Name     string
	Requests []Request
}

// Recipes are all of them.
func Recipes() []Recipe {
	var all []Recipe
	for _, o := range objects() {
		all = append(all, Recipe{o.name, o.requests()})
	}
	for _, y := range yamls() {
		all = append(all, Recipe{y.name, y.requests(YAML)})
	}
	for _, p := range patches() {
		all = append(all, Recipe{p.name, p.requests(JSONPatch)})
	}
	return append(all, queries()...)
}

// object is a recipe for a whole record: what stands among the members of its
// metadata and beside metadata and spec.
type object struct {
	name             string
	metadata, beside func(size int) string
}

func (o object) body(name string) func(size int, revision string) string {
	return func(size int, revision string) string {
		var b strings.Builder
		fmt.Fprintf(&b, `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{"name":%q`, name)
		if revision != "" {
			fmt.Fprintf(&b, `,"resourceVersion":%q`, revision)
		}
		if o.metadata != nil {
			b.WriteString("," + o.metadata(size))
		}
		fmt.Fprintf(&b, `},"spec":{"name":%q,"tls":{},"target":{"ref":{"kind":"Gateway","name":"default"}}}`, name)
		if o.beside != nil {
			b.WriteString("," + o.beside(size))
		}
		b.WriteString("}")
		return b.String()
	}
}

func (o object) requests() []Request {
	o.metadata, o.beside = once(o.metadata), once(o.beside)
	live, fresh := o.body(Live), o.body(Fresh)
	bare := func(body func(int, string) string) func(int, string) string {
		return func(size int, _ string) string { return body(size, "") }
	}
	return []Request{
		{Method: "POST", Path: base, Type: JSON, Body: bare(fresh)},
		{Method: "POST", Path: base + "?fieldValidation=Strict", Type: JSON, Body: bare(fresh)},
		{Method: "POST", Path: base + "?dryRun=All", Type: YAML, Body: bare(fresh)},
		{Method: "PUT", Path: base + "/" + Live, Type: JSON, Body: live},
		{Method: "PUT", Path: base + "/" + Live + "/status", Type: JSON, Body: live},
		{Method: "PATCH", Path: base + "/" + Live, Type: Merge, Body: bare(live)},
		{Method: "PATCH", Path: base + "/" + Live + "/status", Type: Merge, Body: bare(live)},
		{Method: "PATCH", Path: base + "/" + Live + "?fieldManager=f&force=true", Type: Apply, Body: bare(live)},
		{Method: "PATCH", Path: base + "/" + Live + "/status?fieldManager=f&force=true", Type: Apply, Body: bare(live)},
		{Method: "PATCH", Path: base + "/" + Fresh + "?fieldManager=f", Type: Apply, Body: bare(fresh)},
		{Method: "DELETE", Path: base + "/" + Live, Type: JSON, Body: bare(live)},
	}
}

// text is a recipe for a body of which the name of the record is no part.
type text struct {
	name string
	body func(size int) string
}

func (t text) requests(typ string) []Request {
	made := once(t.body)
	body := func(size int, _ string) string { return made(size) }
	if typ == JSONPatch {
		return []Request{
			{Method: "PATCH", Path: base + "/" + Live, Type: typ, Body: body},
			{Method: "PATCH", Path: base + "/" + Live + "/status", Type: typ, Body: body},
		}
	}
	return []Request{
		{Method: "POST", Path: base, Type: typ, Body: body},
		{Method: "PUT", Path: base + "/" + Live, Type: typ, Body: body},
		{Method: "PATCH", Path: base + "/" + Live + "?fieldManager=f&force=true", Type: Apply, Body: body},
		{Method: "DELETE", Path: base + "/" + Live, Type: typ, Body: body},
	}
}

// once remembers the latest of what f makes, since making it is most of the work
// of a test. It is not safe for concurrent use.
func once(f func(size int) string) func(size int) string {
	if f == nil {
		return nil
	}
	of, made := -1, ""
	return func(size int) string {
		if size != of {
			of, made = size, f(size)
		}
		return made
	}
}

// fill repeats what item makes of 0, 1, 2… until there are size bytes.
func fill(size int, separator string, item func(i int) string) string {
	var b strings.Builder
	for i := 0; b.Len() < size; i++ {
		if i > 0 {
			b.WriteString(separator)
		}
		b.WriteString(item(i))
	}
	return b.String()
}

// same is an item that is always the same.
func same(s string) func(int) string { return func(int) string { return s } }

// deep nests open and shut around a core until there are size bytes.
func deep(size int, open, core, shut string) string {
	n := size / (len(open) + len(shut))
	return strings.Repeat(open, n) + core + strings.Repeat(shut, n)
}
