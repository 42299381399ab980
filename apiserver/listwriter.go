package apiserver

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"go.uber.org/zap"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// listWriter writes a list in the negotiated form: begin, add…, end as it is
// read, so that a list of any length costs one chunk of memory; or hold…,
// finish where the head is known only after the items.
type listWriter struct {
	c       *call
	encode  func(raw []byte) ([]byte, error)
	out     io.Writer
	body    *bodyWriter
	whole   *bytes.Buffer
	held    [][]byte
	started bool
}

func newListWriter(c *call, encode func([]byte) ([]byte, error)) *listWriter {
	return &listWriter{c: c, encode: encode}
}

// begin writes everything up to the first item.
func (w *listWriter) begin(meta metav1.ListMeta) error {
	head, err := w.head(meta)
	if err != nil {
		return err
	}
	if w.c.media.yaml || truthy(w.c.query.Get("pretty")) {
		// These forms are for people and need the whole.
		w.whole = new(bytes.Buffer)
		w.out = w.whole
	} else {
		w.body = w.c.body(http.StatusOK)
		w.out = w.body
	}
	_, err = w.out.Write(head)
	return err
}

func (w *listWriter) head(meta metav1.ListMeta) ([]byte, error) {
	kind, version, items, columns := v1alpha3.ListKind, typeMeta.APIVersion, "items", ""
	switch w.c.media.as {
	case asTable:
		kind, version, items = asTable, w.c.media.apiVersion(), "rows"
		defs, err := json.Marshal(v1alpha3.TableColumns())
		if err != nil {
			return nil, fmt.Errorf("encoding the table's columns: %w", err)
		}
		columns = `"columnDefinitions":` + string(defs) + ","
	case asMetadataList:
		kind, version = asMetadataList, w.c.media.apiVersion()
	}
	m, err := json.Marshal(meta)
	if err != nil {
		return nil, fmt.Errorf("encoding the list's metadata: %w", err)
	}
	return fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,"metadata":%s,%s%q:[`, kind, version, m, columns, items), nil
}

// add writes one item.
func (w *listWriter) add(raw []byte) error {
	item, err := w.encode(raw)
	if err != nil {
		return err
	}
	return w.write(item)
}

func (w *listWriter) write(item []byte) error {
	if w.started {
		if _, err := w.out.Write([]byte{','}); err != nil {
			return err
		}
	}
	w.started = true
	_, err := w.out.Write(item)
	return err
}

// end writes what follows the last item.
func (w *listWriter) end() error {
	if _, err := io.WriteString(w.out, "]}\n"); err != nil {
		return w.abort(err)
	}
	if w.whole != nil {
		return w.c.sendJSON(http.StatusOK, w.whole.Bytes())
	}
	return w.body.Close()
}

// abort ends a list that cannot be finished. Once a part has gone out the
// connection is cut: half a list must not look like a whole one.
func (w *listWriter) abort(err error) error {
	if w.body == nil || !w.body.started {
		return err
	}
	if w.c.r.Context().Err() == nil {
		w.c.s.log.Error("cutting off a list that cannot be finished", zap.Error(err))
	}
	panic(http.ErrAbortHandler)
}

// hold keeps one item back for finish.
func (w *listWriter) hold(raw []byte) error {
	item, err := w.encode(raw)
	if err != nil {
		return err
	}
	w.held = append(w.held, item)
	return nil
}

// finish writes the head and all items held back.
func (w *listWriter) finish(meta metav1.ListMeta) error {
	if err := w.begin(meta); err != nil {
		return err
	}
	for _, item := range w.held {
		if err := w.write(item); err != nil {
			return w.abort(err)
		}
	}
	return w.end()
}
