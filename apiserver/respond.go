package apiserver

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"sigs.k8s.io/yaml"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// gzipFrom is the size in bytes from which answers are compressed, as in
// Kubernetes: below it the work costs more than the wire.
const gzipFrom = 128 << 10

// send writes a whole answer in the negotiated form.
func (c *call) send(code int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	return c.sendJSON(code, data)
}

// sendJSON is send for what is encoded already.
func (c *call) sendJSON(code int, data []byte) error {
	var err error
	switch {
	case c.media.yaml:
		if data, err = yaml.JSONToYAML(data); err != nil {
			return fmt.Errorf("encoding the answer as YAML: %w", err)
		}
	case truthy(c.query.Get("pretty")):
		var b bytes.Buffer
		if err := json.Indent(&b, data, "", "  "); err != nil {
			return fmt.Errorf("indenting the answer: %w", err)
		}
		data = append(b.Bytes(), '\n')
	}
	b := c.body(code)
	_, _ = b.Write(data) // a client that went away is nobody's error
	return b.Close()
}

// body returns a writer of the answer's body that compresses what is large.
func (c *call) body(code int) *bodyWriter {
	h := c.w.Header()
	h.Set("Content-Type", c.media.contentType())
	h.Set("Cache-Control", "no-cache, private")
	h.Add("Vary", "Accept, Accept-Encoding")
	return &bodyWriter{w: c.w, code: code, compress: acceptsGzip(c.r), head: c.r.Method == http.MethodHead}
}

// bodyWriter holds the first gzipFrom bytes back until it knows whether there
// are more.
type bodyWriter struct {
	w        http.ResponseWriter
	code     int
	compress bool
	head     bool
	held     bytes.Buffer
	started  bool
	gz       *gzip.Writer
}

func (b *bodyWriter) Write(p []byte) (int, error) {
	if b.head {
		return len(p), nil
	}
	if !b.started {
		if b.held.Len()+len(p) < gzipFrom {
			return b.held.Write(p)
		}
		b.start(b.compress)
		if err := b.flushHeld(); err != nil {
			return 0, err
		}
	}
	if b.gz != nil {
		return b.gz.Write(p)
	}
	return b.w.Write(p)
}

func (b *bodyWriter) start(compress bool) {
	b.started = true
	if compress {
		b.w.Header().Set("Content-Encoding", "gzip")
		b.gz, _ = gzip.NewWriterLevel(b.w, gzip.BestSpeed) // the level is valid
	}
	b.w.WriteHeader(b.code)
}

func (b *bodyWriter) flushHeld() error {
	data := b.held.Bytes()
	b.held = bytes.Buffer{}
	var err error
	if b.gz != nil {
		_, err = b.gz.Write(data)
	} else {
		_, err = b.w.Write(data)
	}
	return err
}

// Close sends what was held back. A write that fails means that the client has
// gone; there is nobody left to tell.
func (b *bodyWriter) Close() error {
	if !b.started {
		b.start(false)
		_ = b.flushHeld()
	}
	if b.gz != nil {
		_ = b.gz.Close()
	}
	return nil
}

func acceptsGzip(r *http.Request) bool {
	for _, a := range parseAccept(strings.ReplaceAll(r.Header.Get("Accept-Encoding"), "gzip", "x/gzip")) {
		if a.typ == "x/gzip" {
			return true
		}
	}
	return false
}

func truthy(s string) bool { b, _ := strconv.ParseBool(s); return b }

// Bounds on Warning headers, in bytes: of one and of all, so that a hostile body
// cannot grow the answer's header beyond what clients take.
const (
	maxWarning  = 256
	maxWarnings = 4096
)

// warn adds the Warning header that kubectl prints on standard error.
func (c *call) warn(text string) {
	if len(text) > maxWarning {
		text = strings.ToValidUTF8(text[:maxWarning], "") + "…"
	}
	if c.warned += len(text); c.warned > maxWarnings {
		return
	}
	if h, err := utilnet.NewWarningHeader(299, "-", text); err == nil {
		c.w.Header().Add("Warning", h)
	}
}

// fail answers with the Status of an error, unless the client went away.
func (c *call) fail(err error) {
	if errors.Is(err, context.Canceled) && c.r.Context().Err() != nil {
		return
	}
	status := c.s.status(err, c)
	if status.Details != nil && status.Details.RetryAfterSeconds > 0 {
		c.w.Header().Set("Retry-After", strconv.Itoa(int(status.Details.RetryAfterSeconds)))
	}
	c.media = media{yaml: c.media.yaml}
	_ = c.send(int(status.Code), status) // a Status always encodes
}

// status is the one place where errors become HTTP statuses.
func (s *Server) status(err error, c *call) metav1.Status {
	var known apierrors.APIStatus
	if !errors.As(err, &known) {
		known = s.translate(err, c)
	}
	status := known.Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	if status.Status == "" {
		status.Status = metav1.StatusFailure
	}
	return bounded(status)
}

// Bounds on an error's answer: of its message and of one cause's in bytes, and
// on how many causes are named. What a client sent is not sent back to it whole.
const (
	maxMessage      = 8 << 10
	maxCauseMessage = 1 << 10
	maxCauses       = 32
)

// bounded is a Status within the bounds.
func bounded(st metav1.Status) metav1.Status {
	st.Message = cutTo(st.Message, maxMessage)
	if st.Details == nil {
		return st
	}
	d := *st.Details
	d.Name = cutTo(d.Name, maxCauseMessage)
	d.Causes = slices.Clone(d.Causes[:min(len(d.Causes), maxCauses)])
	for i := range d.Causes {
		d.Causes[i].Message = cutTo(d.Causes[i].Message, maxCauseMessage)
		d.Causes[i].Field = cutTo(d.Causes[i].Field, maxCauseMessage)
	}
	st.Details = &d
	return st
}

func (s *Server) translate(err error, c *call) apierrors.APIStatus {
	switch {
	case errors.Is(err, store.ErrExpired):
		return apierrors.NewResourceExpired("The resourceVersion asked for is too old: its history is no longer kept. List again and go on from there.")
	case errors.Is(err, store.ErrFutureRevision):
		return errFuture("The resourceVersion asked for has not been reached yet")
	case errors.Is(err, store.ErrClosed):
		return apierrors.NewServiceUnavailable("the store is closed: the server is stopping")
	case errors.Is(err, store.ErrUnavailable):
		return errUnavailable(err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return apierrors.NewTimeoutError("the request did not finish in time", 1)
	}
	s.log.Error("answering an API request", zap.String("verb", c.verb), zap.String("name", c.name), zap.Error(err))
	return apierrors.NewInternalError(err)
}

// errUnavailable is the answer while the store's engine cannot be reached. It names
// the engine and tells the client to come again.
func errUnavailable(err error) *apierrors.StatusError {
	e := apierrors.NewServiceUnavailable("the store is not available")
	var why *store.UnavailableError
	if errors.As(err, &why) {
		e.ErrStatus.Message = "the store is not available: " + why.Error()
	}
	e.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: unavailableRetry}
	return e
}

// unavailableRetry is after how many seconds a client is to come again.
const unavailableRetry = 2

// errFuture is the answer to a revision from the future, in the form that
// clients recognise (apierrors.HasStatusCause ResourceVersionTooLarge).
func errFuture(message string) *apierrors.StatusError {
	e := apierrors.NewTimeoutError("Too large resource version: "+message, 1)
	e.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type:    metav1.CauseTypeResourceVersionTooLarge,
		Message: "Too large resource version",
	}}
	return e
}
