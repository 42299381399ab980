package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
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
	each, err := f.each(stdin)
	if err != nil {
		return nil, nil, err
	}
	for m, err := range each {
		if err != nil {
			bad = append(bad, err)
		} else {
			all = append(all, m)
		}
	}
	if len(all)+len(bad) == 0 {
		return nil, nil, f.errNone()
	}
	return all, bad, nil
}

func (f files) errNone() error {
	return fmt.Errorf("there is no domain record in %s", strings.Join(f.names, ", "))
}

// readAhead is how many files are read before they are asked for.
const readAhead = 64

// each is read, one after the other; an error is of the names.
func (f files) each(stdin io.Reader) (iter.Seq2[manifest, error], error) {
	var found []string
	for _, name := range f.names {
		more, err := f.expand(name)
		if err != nil {
			return nil, err
		}
		found = append(found, more...)
	}
	return func(yield func(manifest, error) bool) {
		coming := make(chan chan iter.Seq2[manifest, error], readAhead)
		enough := make(chan struct{})
		defer close(enough)
		go func() {
			defer close(coming)
			for _, name := range found {
				parsed := make(chan iter.Seq2[manifest, error], 1)
				select {
				case coming <- parsed:
				case <-enough:
					return
				}
				if name == "-" { // one after the other
					parsed <- readFile(name, stdin)
				} else {
					go func() { parsed <- readFile(name, nil) }()
				}
			}
		}()
		for parsed := range coming {
			for m, err := range <-parsed {
				if !yield(m, err) {
					return
				}
			}
		}
	}, nil
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

// parseAtOnce is up to what size a file is parsed as a whole where it is read.
const parseAtOnce = 64 << 10

// readFile reads a file, and parses it unless it is large.
func readFile(name string, stdin io.Reader) iter.Seq2[manifest, error] {
	failed := func(err error) iter.Seq2[manifest, error] {
		return func(yield func(manifest, error) bool) { yield(manifest{}, err) }
	}
	r, shown := stdin, "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return failed(fmt.Errorf("reading manifests: %w", err))
		}
		defer f.Close()
		r, shown = f, name
	}
	raw, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return failed(fmt.Errorf("reading %s: %w", shown, err))
	}
	if len(raw) > maxFile {
		return failed(fmt.Errorf("reading %s: it has over %d MiB: split it", shown, maxFile>>20))
	}
	if len(raw) > parseAtOnce {
		return eachManifest(raw, shown)
	}
	all, bad := parseManifests(raw, shown)
	return func(yield func(manifest, error) bool) {
		for _, m := range all {
			if !yield(m, nil) {
				return
			}
		}
		for _, err := range bad {
			if !yield(manifest{}, err) {
				return
			}
		}
	}
}
