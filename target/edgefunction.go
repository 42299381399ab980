package target

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// EdgeFunction is a target whose requests are answered by sandboxed code from a file.
type EdgeFunction struct {
	Function *edgefunction.Function
}

// Serve has the function answer, or next where the function hands the request on.
// What the function does wrong becomes an error with a status of 413 or 5xx. While
// the function cannot take the request at all, the answer is 503 with Retry-After.
func (t EdgeFunction) Serve(w http.ResponseWriter, r *http.Request, next Next) error {
	err := t.Function.Serve(w, r, next)
	if errors.Is(err, edgefunction.ErrNotCompiled) {
		w.Header().Set("Retry-After", "30")
		return caddyhttp.Error(http.StatusServiceUnavailable, err)
	}
	fault, ok := edgefunction.AsFault(err)
	if !ok {
		return err
	}
	if fault.Kind == edgefunction.FaultBusy {
		w.Header().Set("Retry-After", "1")
	}
	return caddyhttp.Error(fault.Kind.Status(), err)
}

// Health is that of the file and of the requests that it met.
func (t EdgeFunction) Health() Health {
	well, message := t.Function.Health()
	return Health{Healthy: well, Message: message}
}

var _ Target = EdgeFunction{}
