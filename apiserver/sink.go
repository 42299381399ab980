package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// The types of watch events.
const (
	eventAdded    = "ADDED"
	eventModified = "MODIFIED"
	eventDeleted  = "DELETED"
	eventBookmark = "BOOKMARK"
	eventError    = "ERROR"

	// initialEventsEnd marks the bookmark after the initial events.
	initialEventsEnd = metav1.InitialEventsAnnotationKey
)

// sink writes a watch's events, one JSON document a line.
type sink struct {
	c       *call
	rc      *http.ResponseController
	include metav1.IncludeObjectPolicy
	// columns: the next table carries the column definitions.
	columns bool
	within  time.Duration
}

func newSink(c *call, o listOptions) *sink {
	return &sink{c: c, rc: http.NewResponseController(c.w), include: o.include, columns: true, within: c.s.cfg.Limits.WatchWrite}
}

// writeError is a failed write: the client has gone or reads too slowly.
type writeError struct{ err error }

func (e *writeError) Error() string { return "writing a watch event: " + e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// open sends the headers at once: clients wait for them before any event.
func (s *sink) open() error {
	h := s.c.w.Header()
	h.Set("Content-Type", s.c.media.contentType())
	h.Set("Cache-Control", "no-cache, private")
	s.c.w.WriteHeader(http.StatusOK)
	return s.flush()
}

// close lifts the write deadline, which would outlive the watch on a
// connection that is used again.
func (s *sink) close() { _ = s.rc.SetWriteDeadline(time.Time{}) }

func (s *sink) flush() error {
	if err := s.deadline(); err != nil {
		return err
	}
	if err := s.rc.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return &writeError{err}
	}
	return nil
}

func (s *sink) deadline() error {
	if err := s.rc.SetWriteDeadline(time.Now().Add(s.within)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return &writeError{err}
	}
	return nil
}

// event sends one record's JSON in the negotiated form.
func (s *sink) event(kind string, raw []byte) error {
	if s.c.media.as == "" {
		return s.write(kind, raw)
	}
	r, err := decodeStored(raw)
	if err != nil {
		return fmt.Errorf("%w: %w", errUndecodable, err)
	}
	if s.c.media.as != asTable {
		return s.object(kind, partial(r, s.c.media))
	}
	t := s.table()
	t.ResourceVersion = r.ResourceVersion
	row, err := s.c.s.tableRow(r, s.c.media, s.include)
	if err != nil {
		return err
	}
	t.Rows = []metav1.TableRow{row}
	return s.object(kind, t)
}

func (s *sink) table() *metav1.Table {
	t := s.c.s.tableHead(s.c.media, s.columns)
	s.columns = false
	return t
}

// bookmark tells up to where the client has seen everything.
func (s *sink) bookmark(rev int64, annotations map[string]string) error {
	meta := metav1.ObjectMeta{ResourceVersion: formatRevision(rev), Annotations: annotations}
	switch s.c.media.as {
	case asTable:
		t := s.c.s.tableHead(s.c.media, false)
		t.ResourceVersion = meta.ResourceVersion
		raw, err := json.Marshal(partial(&v1alpha3.DomainRecord{ObjectMeta: meta}, s.c.media))
		if err != nil {
			return fmt.Errorf("encoding a bookmark: %w", err)
		}
		t.Rows = []metav1.TableRow{{Cells: []any{}}}
		t.Rows[0].Object.Raw = raw
		return s.object(eventBookmark, t)
	case "":
		return s.object(eventBookmark, &v1alpha3.DomainRecord{TypeMeta: typeMeta, ObjectMeta: meta})
	}
	return s.object(eventBookmark, partial(&v1alpha3.DomainRecord{ObjectMeta: meta}, s.c.media))
}

// failure sends the Status that ends a watch.
func (s *sink) failure(status metav1.Status) error { return s.object(eventError, status) }

func (s *sink) object(kind string, v any) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding a watch event: %w", err)
	}
	return s.write(kind, raw)
}

func (s *sink) write(kind string, raw []byte) error {
	if err := s.deadline(); err != nil {
		return err
	}
	line := make([]byte, 0, len(raw)+len(`{"type":"BOOKMARK","object":}`)+1)
	line = fmt.Appendf(line, `{"type":%q,"object":`, kind)
	line = append(line, raw...)
	line = append(line, '}', '\n')
	if _, err := s.c.w.Write(line); err != nil {
		return &writeError{err}
	}
	return nil
}
