package wasm

import (
	"net/http"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// recorder keeps the response of the next handler for the guest (the feature
// buffer_response). It implements http.ResponseWriter.
type recorder struct {
	w      http.ResponseWriter
	header http.Header
	limit  int64
	status int
	body   []byte
	read   int
	fault  *edgefunction.Fault
}

// Header implements http.ResponseWriter.
func (r *recorder) Header() http.Header { return r.header }

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		replace(r.w.Header(), r.header)
		r.w.WriteHeader(status) // it tells of what is to come, and waits for nobody
		return
	}
	if r.status == 0 {
		r.status = status
	}
}

// Write implements http.ResponseWriter.
func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	if r.fault == nil && int64(len(r.body)+len(p)) > r.limit {
		r.fault = edgefunction.Faultf(edgefunction.FaultAnswer, "the response of the next handler is longer than the %d bytes that the function may hold (it has enabled buffer_response)", r.limit)
		r.body = nil
	}
	if r.fault != nil {
		return 0, r.fault
	}
	r.body = append(r.body, p...)
	return len(p), nil
}
