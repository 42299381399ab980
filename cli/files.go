package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// maxFile bounds a file of manifests, in bytes.
const maxFile = 256 << 20

// manifest is one record of a file.
type manifest struct {
	*unstructured.Unstructured
	// source says where it stands, for messages.
	source string
}

// name is that of the record the manifest means: its own, or the one that
// follows from its hostname. The error says why neither does.
func (m manifest) name() (string, error) {
	if n := m.GetName(); n != "" {
		return n, nil
	}
	host, _, _ := unstructured.NestedString(m.Object, "spec", "name")
	if host == "" {
		return "", errors.New("names no record: give metadata.name or spec.name")
	}
	normal, err := v1alpha3.NormalizeHostname(host)
	if err != nil {
		return "", fmt.Errorf("spec.name %s %w", quote(host), err)
	}
	return v1alpha3.RecordName(normal), nil
}

// files is the flags that name manifests.
type files struct {
	names     []string
	recursive bool
}

// read returns every record of every file, in order: files as given, a
// directory's by name, "-" from stdin.
func (f files) read(stdin io.Reader) ([]manifest, error) {
	var all []manifest
	for _, name := range f.names {
		found, err := f.expand(name)
		if err != nil {
			return nil, err
		}
		for _, file := range found {
			ms, err := readFile(file, stdin)
			if err != nil {
				return nil, err
			}
			all = append(all, ms...)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("there is no domain record in %s", strings.Join(f.names, ", "))
	}
	return all, nil
}

// expand returns the files that a name stands for.
func (f files) expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	if strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://") {
		return nil, usagef("-f %s is a URL: fetch it first, such as with curl %s | … -f -", quote(name), name)
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("reading manifests: %w", err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	var found []string
	err = filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != name && !f.recursive:
			return fs.SkipDir
		case !d.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(path)):
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading manifests: %w", err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("reading manifests: the directory %s has no .yaml, .yml or .json file", name)
	}
	return found, nil
}

func readFile(name string, stdin io.Reader) ([]manifest, error) {
	r, shown := stdin, "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
		defer f.Close()
		r, shown = f, name
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", shown, err)
	}
	if len(raw) > maxFile {
		return nil, fmt.Errorf("reading %s: it has over %d MiB: split it", shown, maxFile>>20)
	}
	return parseManifests(raw, shown)
}

// parseManifests reads YAML documents or a stream of JSON objects. A key given
// twice is an error; fields that do not exist are the server's to refuse.
func parseManifests(raw []byte, source string) ([]manifest, error) {
	docs, err := splitDocuments(raw)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", source, err)
	}
	var all []manifest
	n := 0 // documents of comments alone are not counted
	for _, doc := range docs {
		at := source
		if len(docs) > 1 {
			at = fmt.Sprintf("%s, document %d", source, n+1)
		}
		asJSON, err := yaml.YAMLToJSONStrict(doc)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", at, err)
		}
		if string(asJSON) == "null" {
			continue
		}
		n++
		ms, err := parseObject(asJSON, at)
		if err != nil {
			return nil, err
		}
		all = append(all, ms...)
	}
	return all, nil
}

// splitDocuments cuts YAML at its --- lines, and JSON behind each value.
func splitDocuments(raw []byte) ([][]byte, error) {
	var docs [][]byte
	if utilyaml.IsJSONBuffer(raw) {
		dec := json.NewDecoder(bytes.NewReader(raw))
		for {
			var doc json.RawMessage
			if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
				return docs, nil
			} else if err != nil {
				break // flow style YAML begins like JSON
			}
			docs = append(docs, doc)
		}
		docs = nil
	}
	r := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	for {
		doc, err := r.Read()
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, doc)
	}
}

// parseObject reads a record or a list of them.
func parseObject(raw []byte, at string) ([]manifest, error) {
	object := map[string]any{}
	if err := utiljson.Unmarshal(raw, &object); err != nil {
		return nil, fmt.Errorf("reading %s: expected a DomainRecord: %w", at, err)
	}
	u := &unstructured.Unstructured{Object: object}
	kind, version := u.GetKind(), u.GetAPIVersion()
	switch {
	case kind == v1alpha3.Kind && version == v1alpha3.GroupVersion.String():
		return []manifest{{u, at}}, nil
	case kind == v1alpha3.Kind:
		return nil, fmt.Errorf("reading %s: the apiVersion is %s: write %s", at, quote(version), v1alpha3.GroupVersion)
	case kind == "List" && version == "v1", kind == v1alpha3.ListKind && version == v1alpha3.GroupVersion.String():
		return parseItems(u, at)
	case kind == "":
		return nil, fmt.Errorf("reading %s: there is no kind: write apiVersion: %s and kind: %s", at, v1alpha3.GroupVersion, v1alpha3.Kind)
	}
	return nil, fmt.Errorf("reading %s: the kind is %s of %s: only %s of %s is kept here", at, quote(kind), quote(version), v1alpha3.Kind, v1alpha3.GroupVersion)
}

func parseItems(u *unstructured.Unstructured, at string) ([]manifest, error) {
	items, ok := u.Object["items"].([]any)
	if !ok {
		return nil, fmt.Errorf("reading %s: the list has no items", at)
	}
	var all []manifest
	for i, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			return nil, fmt.Errorf("reading %s: item %d is no object", at, i+1)
		}
		inner := &unstructured.Unstructured{Object: object}
		if inner.GetKind() == "" && u.GetKind() == v1alpha3.ListKind {
			inner.SetGroupVersionKind(v1alpha3.GroupVersionKind)
		}
		raw, err := json.Marshal(object)
		if err != nil {
			return nil, fmt.Errorf("reading %s: item %d: %w", at, i+1, err)
		}
		if strings.HasSuffix(inner.GetKind(), "List") {
			return nil, fmt.Errorf("reading %s: item %d is itself a list", at, i+1)
		}
		ms, err := parseObject(raw, fmt.Sprintf("%s, item %d", at, i+1))
		if err != nil {
			return nil, err
		}
		all = append(all, ms...)
	}
	return all, nil
}
