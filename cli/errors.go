package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Exit statuses.
const (
	ExitDone   = 0
	ExitFailed = 1
	ExitUsage  = 2
)

// ExitCode is the exit status that an error of Command's stands for.
func ExitCode(err error) int {
	if err == nil {
		return ExitDone
	}
	if e, ok := errors.AsType[statusError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return ExitUsage
	}
	return ExitFailed
}

// usageError is a command that cannot mean anything.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// statusError asks for an exit status of its own. Without err it is silent:
// what there was to say has been said.
type statusError struct {
	code int
	err  error
}

func (e statusError) Error() string {
	if e.err == nil {
		return "exit status " + strconv.Itoa(e.code)
	}
	return e.err.Error()
}
func (e statusError) Unwrap() error { return e.err }

// fail prints an error and turns it into what RunE returns.
func fail(env Env, cmd *cobra.Command, err error) error {
	if s, ok := errors.AsType[statusError](err); !ok || s.err != nil {
		line := strings.Join(strings.Fields(explain(err)), " ")
		if _, ok := errors.AsType[usageError](err); ok && !strings.Contains(line, "--help") {
			line += " (see " + cmd.CommandPath() + " --help)"
		}
		fmt.Fprintln(env.Stderr, "error: "+harmless(line))
	}
	return env.Failed(cmd, ExitCode(err), err)
}

// explain makes a sentence of an error that says what to do.
func explain(err error) string {
	var status *apierrors.StatusError
	switch {
	case errors.As(err, &status):
		return explainStatus(status.ErrStatus)
	case errors.Is(err, context.Canceled):
		return "interrupted"
	}
	return err.Error()
}

// explainStatus renders the server's answer with those of its causes that the
// message does not hold already.
func explainStatus(s metav1.Status) string {
	msg := s.Message
	if msg == "" {
		msg = fmt.Sprintf("the server answered %d %s without a message", s.Code, http.StatusText(int(s.Code)))
	}
	if s.Details != nil {
		for _, c := range s.Details.Causes {
			if c.Message == "" || strings.Contains(msg, c.Message) {
				continue
			}
			msg += "; "
			if c.Field != "" {
				msg += c.Field + ": "
			}
			msg += c.Message
		}
	}
	switch s.Reason {
	case metav1.StatusReasonConflict:
		if hasCause(s, metav1.CauseTypeFieldManagerConflict) {
			return msg + "; --force-conflicts takes those fields over"
		}
		return msg + "; try again on the latest state"
	case metav1.StatusReasonNotFound:
		if s.Details != nil && s.Details.Name != "" {
			return msg + "; get lists what there is"
		}
	}
	return msg
}

func hasCause(s metav1.Status, t metav1.CauseType) bool {
	if s.Details == nil {
		return false
	}
	for _, c := range s.Details.Causes {
		if c.Type == t {
			return true
		}
	}
	return false
}

// unreachable makes a sentence of a request that got no answer.
func unreachable(base string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Net == "unix" && op.Addr != nil {
		base = "unix/" + op.Addr.String() // the URL of a socket says nothing
	}
	var why string
	var dns *net.DNSError
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		why = "connection refused: is Caddy running?"
	case errors.Is(err, syscall.ENOENT):
		why = "no such socket: is Caddy running?"
	case errors.Is(err, syscall.EACCES):
		why = "permission denied: run this as a user who may use the socket."
	case errors.As(err, &dns):
		why = "the name " + quote(dns.Name) + " does not resolve."
	default:
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("asking Caddy's admin endpoint at %s: %w; --address names another endpoint", base, err)
	}
	return fmt.Errorf("cannot reach Caddy's admin endpoint at %s: %s --address names another endpoint", base, why)
}

// quote quotes foreign text and bounds it.
func quote(s string) string {
	const most = 120
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}
