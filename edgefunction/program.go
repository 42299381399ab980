package edgefunction

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Program is a compiled function. It is safe for concurrent use.
type Program interface {
	// Serve answers the request, or has next answer it where the function does
	// not. It returns a Fault for what the function did wrong, what next returned
	// for the rest, and an error of another type for what failed on our side.
	// It holds the limits of its Settings, and ends soon after the request's
	// context does.
	Serve(w http.ResponseWriter, r *http.Request, next Next) error
	// Close frees what the program holds. It is called once, after the last Serve
	// has returned.
	Close() error
}

// Next is what follows the function in a handler chain.
type Next interface {
	ServeHTTP(http.ResponseWriter, *http.Request) error
}

// Compiler makes a program of a file's content. Its error is a *SourceError where
// the file is at fault, several joined with errors.Join where it has several.
type Compiler func(ctx context.Context, file string, source []byte, settings Settings) (Program, error)

// Settings are what one function may do, and how much of it.
type Settings struct {
	// Name is the target's.
	Name string
	// Env is what the function finds in its environment, secrets included.
	Env map[string]string
	// Fetch lists the origins that the function may ask, as scheme://host[:port]
	// in lower case, without a default port. Empty: none.
	Fetch []string
	// Mounts maps directories of the host to where the function finds them, for
	// reading alone. Empty: none.
	Mounts []Mount
	// Log takes what the function prints, as the attribute LogText. Never nil.
	Log *slog.Logger
	Limits
}

// LogText is the key under which a log entry holds what the function printed.
const LogText = "text"

// Mount is a directory that a function may read.
type Mount struct {
	Dir string // on the host
	At  string // as the function sees it, absolute
}

// Limits bound one function. All are positive.
type Limits struct {
	// Timeout is how long a request may keep the function running; what the next
	// handler takes does not count.
	Timeout time.Duration
	// Memory is what one instance may hold, in bytes.
	Memory int64
	// RequestBody and ResponseBody are the longest bodies that the function may
	// read and write, in bytes. What passes it by unread has no bound here.
	RequestBody, ResponseBody int64
	// Headers is the size of a response's header fields, names and values, in bytes.
	Headers int64
	// Log is how much one request may print, in bytes; the rest is dropped and
	// the log says so.
	Log int64
	// Concurrency is how many requests may be with the function at once.
	Concurrency int
}

// Defaults of Limits.
var Defaults = Limits{
	Timeout:      10 * time.Second,
	Memory:       128 << 20,
	RequestBody:  10 << 20,
	ResponseBody: 10 << 20,
	Headers:      64 << 10,
	Log:          64 << 10,
	Concurrency:  100,
}

// FaultKind is one way in which a function fails a request.
type FaultKind string

// The kinds of faults, with the status that answers them.
const (
	FaultTimeout  FaultKind = "timeout"           // it ran longer than its timeout: 504
	FaultMemory   FaultKind = "memory"            // it wanted more than its memory: 500
	FaultCrash    FaultKind = "crash"             // it trapped, panicked, threw or exited with an error: 500
	FaultAnswer   FaultKind = "answer"            // what it answered is not HTTP or passes a limit: 502
	FaultTooLarge FaultKind = "request_too_large" // the request's body passes its limit: 413
	FaultBusy     FaultKind = "busy"              // as many requests are with it as may be: 503
)

// Status is the HTTP status code that answers the fault.
func (k FaultKind) Status() int {
	switch k {
	case FaultTimeout:
		return http.StatusGatewayTimeout
	case FaultAnswer:
		return http.StatusBadGateway
	case FaultTooLarge:
		return http.StatusRequestEntityTooLarge
	case FaultBusy:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}

// Fault is what a function did wrong with one request.
type Fault struct {
	Kind FaultKind
	// Err says what was seen, with the line of the user's source where known.
	// Visitors do not see it.
	Err error
}

// Faultf returns a Fault of a kind.
func Faultf(kind FaultKind, format string, args ...any) *Fault {
	return &Fault{Kind: kind, Err: fmt.Errorf(format, args...)}
}

// Error says the kind and what was seen.
func (f *Fault) Error() string { return string(f.Kind) + ": " + f.Err.Error() }

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

// SourceError says where a file does not compile.
type SourceError struct {
	File         string
	Line, Column int // from 1; 0 where unknown
	Message      string
}

// Error is file:line:column: message, as compilers say it.
func (e *SourceError) Error() string {
	switch {
	case e.Line == 0:
		return fmt.Sprintf("%s: %s", e.File, e.Message)
	case e.Column == 0:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message)
	default:
		return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Message)
	}
}

// AsFault returns the fault in err, and whether there is one.
func AsFault(err error) (*Fault, bool) {
	var f *Fault
	ok := errors.As(err, &f)
	return f, ok
}
