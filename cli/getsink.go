package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// sink is where get puts what it reads.
type sink interface {
	// accept is what the server is asked for.
	accept() string
	// single: one record is shown, not a list of one.
	single(bool)
	// streaming: what is put is shown at once and one by one.
	streaming()
	// mute counts what is put without showing it.
	mute(bool)
	put(raw json.RawMessage) error
	flush() error
	count() int
}

func (o *getOptions) sink() (sink, error) {
	if o.out.table() {
		return &tableSink{w: printers.GetNewTabWriter(o.env.Stdout), p: o.out.tablePrinter(), env: o.env, seen: map[string]string{}}, nil
	}
	p, err := o.out.printer()
	if err != nil {
		return nil, err
	}
	return &objectSink{w: o.env.Stdout, p: p, seen: map[string]string{}}, nil
}

// objectSink shows whole records: a list at its end, or a stream as it comes.
type objectSink struct {
	w         io.Writer
	p         printers.ResourcePrinter
	items     []unstructured.Unstructured
	one, live bool
	muted     bool
	n         int
	seen      map[string]string
}

func (s *objectSink) accept() string  { return typeJSON }
func (s *objectSink) single(one bool) { s.one = one }
func (s *objectSink) streaming()      { s.live = true }
func (s *objectSink) mute(muted bool) { s.muted = muted }
func (s *objectSink) count() int      { return s.n }

func (s *objectSink) put(raw json.RawMessage) error {
	var items []unstructured.Unstructured
	switch kind := kindOf(raw); kind {
	case v1alpha3.Kind:
		items = make([]unstructured.Unstructured, 1)
		if err := items[0].UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("reading a record: %w", err)
		}
	case v1alpha3.ListKind:
		var list unstructured.UnstructuredList
		if err := list.UnmarshalJSON(raw); err != nil {
			return fmt.Errorf("reading a list: %w", err)
		}
		items = list.Items
	default:
		return fmt.Errorf("reading a record: the server answered with kind %s: is that Caddy's admin endpoint? --address names another", quote(kind))
	}
	for _, u := range items {
		if s.live && !isNews(s.seen, u.GetName(), u.GetResourceVersion()) {
			continue
		}
		s.n++
		if !s.muted {
			s.items = append(s.items, u)
		}
	}
	return nil
}

func (s *objectSink) flush() error {
	items := s.items
	s.items = nil
	if s.one || s.live {
		for i := range items {
			if err := s.p.PrintObj(&items[i], s.w); err != nil {
				return fmt.Errorf("printing: %w", err)
			}
		}
		return nil
	}
	list := &unstructured.UnstructuredList{Items: items, Object: map[string]any{
		"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""},
	}}
	if list.Items == nil {
		list.Items = []unstructured.Unstructured{}
	}
	if err := s.p.PrintObj(list, s.w); err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	return nil
}

// isNews reports whether a record was not shown in this revision before, and
// remembers it.
func isNews(seen map[string]string, name, rv string) bool {
	if rv != "" && seen[name] == rv {
		return false
	}
	seen[name] = rv
	return true
}

func kindOf(raw json.RawMessage) string {
	var t metav1.TypeMeta
	_ = json.NewDecoder(bytes.NewReader(raw)).Decode(&t)
	return t.Kind
}
