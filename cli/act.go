package cli

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// action is something that the server does with one record on demand and
// answers when it is done: check and revoke.
type action struct {
	verb    string // the command and the subresource
	timeout time.Duration
}

func (a *action) addFlags(cmd *cobra.Command, what string) {
	cmd.Flags().DurationVar(&a.timeout, "timeout", 2*time.Minute, what)
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

// do returns the record as it is when the action is done; late is the error
// where that takes too long. The record may be named by its hostname.
func (a *action) do(ctx context.Context, c *client, name string, query url.Values, late error) (*unstructured.Unstructured, error) {
	if a.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, a.timeout, late)
		defer cancel()
	}
	ask := request{method: http.MethodPost, name: name, subresource: a.verb, query: query, contentType: typeJSON, body: []byte("{}"),
		unbounded: true}
	u, _, err := c.object(ctx, ask)
	if apierrors.IsNotFound(err) {
		if found := c.byHostname(ctx, name); found != nil {
			ask.name = found.GetName()
			u, _, err = c.object(ctx, ask)
		}
	}
	return u, err
}
