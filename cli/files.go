package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// maxFile bounds a file of manifests, in bytes.
const maxFile = 256 << 20

// manifest is one record of a file.
type manifest struct {
	*unstructured.Unstructured
	// source says where it stands, for messages.
	source string
	// named: it came with a metadata.name.
	named bool
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
// directory's by name, "-" from stdin. What cannot be read does not keep the
// rest: bad has an error for each file, document or item, which names its place.
func (f files) read(stdin io.Reader) (all []manifest, bad []error, err error) {
	var found []string
	for _, name := range f.names {
		more, err := f.expand(name)
		if err != nil {
			return nil, nil, err
		}
		found = append(found, more...)
	}
	for _, file := range found {
		ms, wrong := readFile(file, stdin)
		all, bad = append(all, ms...), append(bad, wrong...)
	}
	if len(all)+len(bad) == 0 {
		return nil, nil, fmt.Errorf("there is no domain record in %s", strings.Join(f.names, ", "))
	}
	return all, bad, nil
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

func readFile(name string, stdin io.Reader) ([]manifest, []error) {
	r, shown := stdin, "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, []error{fmt.Errorf("reading manifests: %w", err)}
		}
		defer f.Close()
		r, shown = f, name
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, []error{fmt.Errorf("reading %s: %w", shown, err)}
	}
	if len(raw) > maxFile {
		return nil, []error{fmt.Errorf("reading %s: it has over %d MiB: split it", shown, maxFile>>20)}
	}
	return parseManifests(raw, shown)
}
