package cli

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// action is something that the server does with one record on demand and
// answers when it is done: check, revoke, certificate and setuplink.
type action struct {
	verb string // the command and the subresource
	// what begins the error where it takes too long, with the record's name in place
	// of %q; instead is its end, which says what to do.
	what, instead string
	// prepare checks the options and returns what the server is asked with. It runs
	// before the action, which takes its time.
	prepare func() (url.Values, error)
	// kind is that of the answer. Default: DomainRecord.
	kind string
	// what is sent; prepare may set it. Default: POST of an empty object.
	method, contentType string
	body                []byte
	// refused, if given, explains an error of the server about the record of a name.
	refused func(name string, err error) error
	// show prints the record as it is when the action is done.
	show func(*unstructured.Unstructured) error

	timeout time.Duration
}

// command completes the command of an action; limit describes --timeout.
func (a *action) command(env Env, cmd *cobra.Command, limit string) *cobra.Command {
	cmd.Flags().DurationVar(&a.timeout, "timeout", 2*time.Minute, limit+"; 0: without end")
	return finish(env, cmd, a.run, true)
}

func (a *action) run(ctx context.Context, c *client, args []string) error {
	name, err := oneName(a.verb, args)
	if err != nil {
		return err
	}
	if a.timeout < 0 {
		return usagef("--timeout %v is less than nothing: give a duration such as 30s, or 0 for no end", a.timeout)
	}
	query, err := a.prepare()
	if err != nil {
		return err
	}
	u, err := a.do(ctx, c, name, query)
	if err != nil && a.refused != nil {
		err = a.refused(name, err)
	}
	if err != nil {
		return err
	}
	return a.show(u)
}

// oneName takes the one argument of a command.
func oneName(command string, args []string) (string, error) {
	if len(args) != 1 {
		return "", usagef("%s takes one NAME, found %d", command, len(args))
	}
	names, err := parseNames(args)
	if err != nil {
		return "", err
	}
	return names[0], nil
}

// do returns the record as it is when the action is done. The record may be named by
// its hostname.
func (a *action) do(ctx context.Context, c *client, name string, query url.Values) (*unstructured.Unstructured, error) {
	if a.timeout > 0 {
		var cancel context.CancelFunc
		late := fmt.Errorf(a.what+" took over %v: "+a.instead, name, a.timeout)
		ctx, cancel = context.WithTimeoutCause(ctx, a.timeout, late)
		defer cancel()
	}
	ask := request{method: http.MethodPost, name: name, subresource: a.verb, query: query, contentType: typeJSON, body: []byte("{}"),
		unbounded: true}
	if a.method != "" {
		ask.method, ask.contentType, ask.body = a.method, a.contentType, a.body
	}
	kind := cmp.Or(a.kind, v1alpha3.Kind)
	u, _, err := c.objectOf(ctx, kind, ask)
	if apierrors.IsNotFound(err) {
		if ask.name, err = c.hostnameOr(ctx, name, err); err == nil {
			u, _, err = c.objectOf(ctx, kind, ask)
		}
	}
	return u, err
}
