package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
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

// ExitStatus is the exit status that the error asks for.
func (e statusError) ExitStatus() int { return e.code }

// Failure is an error of Env.Client that is no wrong usage, such as a
// configuration without an admin endpoint.
func Failure(err error) error { return statusError{ExitFailed, err} }

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

// adviceFor says what to do about an answer that is not the API's, or nothing.
func adviceFor(code int, body string) string {
	switch {
	case code == http.StatusUnauthorized:
		return "it wants a user and password: give them as --address http://USER:PASSWORD@HOST:PORT"
	case code == http.StatusProxyAuthRequired:
		return "a proxy on the way wants a user and password: see HTTP_PROXY, or take the endpoint out of it with NO_PROXY"
	case code == http.StatusMisdirectedRequest:
		return "this is a site, which serves no such hostname, and not Caddy's admin endpoint: give the endpoint's address with --address, by default " + DefaultAddress
	case code == http.StatusBadRequest && strings.Contains(body, "HTTP request to an HTTPS server"):
		return "it speaks HTTPS: give --address https://HOST:PORT, or the admin endpoint's own address"
	case code == http.StatusForbidden && strings.Contains(body, "host not allowed"):
		return "the admin endpoint does not know itself by that name: give the address that its configuration has, or list the name in its origins"
	case code == http.StatusForbidden && strings.Contains(body, "allowed to access from origin"):
		return "the admin endpoint enforces origins, and this address is none of them: give one of its origins with --address, or list this one there"
	}
	return ""
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
	case metav1.StatusReasonUnauthorized:
		return msg + "; " + adviceFor(http.StatusUnauthorized, "")
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
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		why = "the connection was closed without an answer: is Caddy stopping, or is that the port of something else?"
	case strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		why = "it speaks no HTTPS: write http:// in the address."
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

// checkSelectors makes selectors that cannot mean anything wrong usage.
func checkSelectors(labelSelector, fieldSelector string) error {
	if _, err := labels.Parse(labelSelector); err != nil {
		return usagef("-l %s is no selector: %v; give such as team=a,tier!=free", quote(labelSelector), err)
	}
	if _, err := fields.ParseSelector(fieldSelector); err != nil {
		return usagef("--field-selector %s is no selector: %v; give such as spec.name=api.example.com", quote(fieldSelector), err)
	}
	return nil
}

// quote quotes foreign text and bounds it.
func quote(s string) string {
	const most = 120
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return strconv.Quote(s)
}
