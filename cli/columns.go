package cli

import (
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/printers"
	"k8s.io/client-go/util/jsonpath"
)

// columnsPrinter prints custom columns, such as
// NAME:.metadata.name,HOST:.spec.name, in kubectl's form.
type columnsPrinter struct {
	headers   []string
	paths     []*jsonpath.JSONPath
	noHeaders bool
}

// newColumnsPrinter reads the columns; a file's form is two lines, headers and
// paths, separated by white space.
func newColumnsPrinter(spec string, noHeaders bool) (printers.ResourcePrinter, error) {
	p := &columnsPrinter{noHeaders: noHeaders}
	columns, err := splitColumns(spec)
	if err != nil {
		return nil, err
	}
	for _, column := range columns {
		header, path, ok := strings.Cut(column, ":")
		if !ok || header == "" || path == "" {
			return nil, fmt.Errorf("the column %s is not of the form HEADER:PATH, such as HOST:.spec.name", quote(column))
		}
		parsed := jsonpath.New(header).AllowMissingKeys(true)
		if err := parsed.Parse(relaxed(path)); err != nil {
			return nil, fmt.Errorf("the path %s of the column %s: %w", quote(path), header, err)
		}
		p.headers, p.paths = append(p.headers, header), append(p.paths, parsed)
	}
	return p, nil
}

func splitColumns(spec string) ([]string, error) {
	lines := strings.Split(strings.TrimSpace(spec), "\n")
	if len(lines) == 1 {
		return strings.Split(lines[0], ","), nil
	}
	headers, paths := strings.Fields(lines[0]), strings.Fields(lines[1])
	if len(lines) != 2 || len(headers) != len(paths) {
		return nil, fmt.Errorf("expected a line of headers and a line of as many paths, found %d lines with %d headers and %d paths", len(lines), len(headers), len(paths))
	}
	for i := range headers {
		headers[i] += ":" + paths[i]
	}
	return headers, nil
}

// relaxed gives a path the braces and the leading dot that it may leave out.
func relaxed(path string) string {
	path = strings.TrimSuffix(strings.TrimPrefix(path, "{"), "}")
	if !strings.HasPrefix(path, ".") && !strings.HasPrefix(path, "[") && !strings.HasPrefix(path, "$") {
		path = "." + path
	}
	return "{" + path + "}"
}

// PrintObj prints a record, or every record of a list, as rows under one header.
func (p *columnsPrinter) PrintObj(obj runtime.Object, w io.Writer) error {
	tw := printers.GetNewTabWriter(w)
	defer tw.Flush()
	if !p.noHeaders {
		fmt.Fprintln(tw, strings.Join(p.headers, "\t"))
		p.noHeaders = true // once, also over a watch
	}
	if !meta.IsListType(obj) {
		return p.row(obj, tw)
	}
	return meta.EachListItem(obj, func(o runtime.Object) error { return p.row(o, tw) })
}

func (p *columnsPrinter) row(obj runtime.Object, w io.Writer) error {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return fmt.Errorf("reading a record: %w", err)
	}
	cells := make([]string, len(p.paths))
	for i, path := range p.paths {
		results, err := path.FindResults(content)
		if err != nil {
			return fmt.Errorf("column %s: %w", p.headers[i], err)
		}
		var values []string
		for _, group := range results {
			for _, v := range group {
				values = append(values, harmless(fmt.Sprint(v.Interface())))
			}
		}
		if cells[i] = strings.Join(values, ","); cells[i] == "" {
			cells[i] = "<none>"
		}
	}
	_, err = fmt.Fprintln(w, strings.Join(cells, "\t"))
	return err
}
