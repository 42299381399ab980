package cli

import (
	"encoding/json"
	"fmt"
	"iter"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// parseManifests reads YAML documents or a stream of JSON objects. A key given
// twice is an error; fields that do not exist are the server's to refuse. What is
// wrong with one document keeps no other: bad has it, with its place.
func parseManifests(raw []byte, source string) (all []manifest, bad []error) {
	for m, err := range eachManifest(raw, source) {
		if err != nil {
			bad = append(bad, err)
		} else {
			all = append(all, m)
		}
	}
	return all, bad
}

// parseAhead is how many documents of a file are parsed at a time, on all cores.
const parseAhead = 256

// eachManifest is parseManifests, one after the other.
func eachManifest(raw []byte, source string) iter.Seq2[manifest, error] {
	return func(yield func(manifest, error) bool) {
		text, err := asUTF8(raw)
		if err != nil {
			yield(manifest{}, fmt.Errorf("reading %s: %w", source, err))
			return
		}
		n, docs := 0, splitDocuments(text) // of comments alone are not counted
		single := len(docs) == 1
		for part := range slices.Chunk(docs, parseAhead) {
			texts, errs := documentsJSON(part)
			for i, doc := range part {
				if errs[i] == nil && string(texts[i]) == "null" {
					continue
				}
				n++
				at := source
				if !single {
					at = fmt.Sprintf("%s, document %d", source, n)
				}
				if errs[i] != nil {
					if !yield(manifest{}, fmt.Errorf("reading %s", withLine(at, doc, errs[i]))) {
						return
					}
					continue
				}
				if !single {
					at = fmt.Sprintf("%s, line %d", at, doc.line)
				}
				ms, wrong := parseObject(texts[i], at)
				texts[i] = nil
				for _, m := range ms {
					if !yield(m, nil) {
						return
					}
				}
				for _, err := range wrong {
					if !yield(manifest{}, err) {
						return
					}
				}
			}
		}
	}
}

// documentsJSON is json of each document.
func documentsJSON(docs []document) (texts [][]byte, errs []error) {
	texts, errs = make([][]byte, len(docs)), make([]error, len(docs))
	workers := min(runtime.GOMAXPROCS(0), 1+len(docs)/16)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(docs); i += workers {
				texts[i], errs[i] = docs[i].json()
			}
		})
	}
	wg.Wait()
	return texts, errs
}

// json is the document in JSON, null if it holds comments alone.
func (d document) json() ([]byte, error) {
	if !utf8.Valid(d.text) {
		return nil, fmt.Errorf("line %d: it is not in UTF-8: save the file as UTF-8", invalidLine(d.text))
	}
	return yaml.YAMLToJSONStrict(d.text)
}

// yamlLine is how the YAML parser tells a line, counted from the document's first.
var yamlLine = regexp.MustCompile(`((?:^|yaml: |\n\s*)line )(\d+):`)

// withLine is an error of the YAML parser with its lines as those of the file, or
// with the document's line if it tells none.
func withLine(at string, doc document, err error) string {
	text := strings.TrimPrefix(err.Error(), "error converting YAML to JSON: ")
	told := false
	text = yamlLine.ReplaceAllStringFunc(text, func(found string) string {
		told = true
		part := yamlLine.FindStringSubmatch(found)
		n, _ := strconv.Atoi(part[2]) // it is of digits
		return part[1] + strconv.Itoa(n+doc.first-1) + ":"
	})
	if !told {
		at = fmt.Sprintf("%s, line %d", at, doc.line)
	}
	return at + ": " + text
}

// apoxyKinds are kinds that Apoxy keeps in its API and that are elsewhere here.
var apoxyKinds = map[string]string{
	"DomainZone":   "the operator's zone is in Caddy's configuration, as apoxy { zone … }",
	"Domain":       "write a DomainRecord for each hostname",
	"Gateway":      "it is defined in Caddy's configuration, as apoxy { gateway NAME { … } } in a site",
	"Proxy":        "it is defined in Caddy's configuration, as apoxy { proxy NAME { … } } in a site",
	"EdgeFunction": "it is defined in Caddy's configuration, in the block apoxy of a site",
	"TunnelNode":   "it is defined in Caddy's configuration, in the block apoxy of a site",
}

// parseObject reads a record or a list of them.
func parseObject(raw []byte, at string) ([]manifest, []error) {
	object := map[string]any{}
	if err := utiljson.Unmarshal(raw, &object); err != nil {
		return nil, []error{fmt.Errorf("reading %s: expected a DomainRecord: %w", at, err)}
	}
	u := &unstructured.Unstructured{Object: object}
	kind, version := u.GetKind(), u.GetAPIVersion()
	var err error
	switch {
	case kind == v1alpha3.Kind && version == v1alpha3.GroupVersion.String():
		return []manifest{{u, at, u.GetName() != ""}}, nil
	case kind == v1alpha3.Kind:
		err = fmt.Errorf("reading %s: the apiVersion is %s: write %s", at, quote(version), v1alpha3.GroupVersion)
	case kind == "List" && version == "v1", kind == v1alpha3.ListKind && version == v1alpha3.GroupVersion.String():
		return parseItems(u, at)
	case kind == "":
		err = fmt.Errorf("reading %s: there is no kind: write apiVersion: %s and kind: %s", at, v1alpha3.GroupVersion, v1alpha3.Kind)
	default:
		err = fmt.Errorf("reading %s: the kind is %s of %s: only %s of %s is kept here", at, quote(kind), quote(version), v1alpha3.Kind, v1alpha3.GroupVersion)
		if hint, ok := apoxyKinds[kind]; ok && strings.Contains(version, "apoxy.dev/") {
			err = fmt.Errorf("%w; %s", err, hint)
		}
	}
	return nil, []error{err}
}

func parseItems(u *unstructured.Unstructured, at string) (all []manifest, bad []error) {
	items, ok := u.Object["items"].([]any)
	if !ok {
		return nil, []error{fmt.Errorf("reading %s: the list has no items", at)}
	}
	for i, item := range items {
		at := fmt.Sprintf("%s, item %d", at, i+1)
		object, ok := item.(map[string]any)
		if !ok {
			bad = append(bad, fmt.Errorf("reading %s: it is no object", at))
			continue
		}
		inner := &unstructured.Unstructured{Object: object}
		if inner.GetKind() == "" && u.GetKind() == v1alpha3.ListKind {
			inner.SetGroupVersionKind(v1alpha3.GroupVersionKind)
		}
		raw, err := json.Marshal(object)
		switch {
		case err != nil:
			bad = append(bad, fmt.Errorf("reading %s: %w", at, err))
			continue
		case strings.HasSuffix(inner.GetKind(), "List"):
			bad = append(bad, fmt.Errorf("reading %s: it is itself a list", at))
			continue
		}
		ms, wrong := parseObject(raw, at)
		all, bad = append(all, ms...), append(bad, wrong...)
	}
	return all, bad
}
