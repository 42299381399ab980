package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// revocationReasons are those of RFC 5280 section 5.3.1 that make sense here.
var revocationReasons = []string{"unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation"}

type revokeOptions struct {
	env     Env
	reason  string
	timeout time.Duration
}

func revokeCommand(env Env) *cobra.Command {
	o := &revokeOptions{env: env}
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revokes a record's certificate, to be replaced by one with a new key",
		Example: `  caddy apoxy domainrecord revoke api.example.com
  caddy apoxy domainrecord revoke api.example.com --reason keyCompromise`,
	}
	cmd.Flags().StringVar(&o.reason, "reason", revocationReasons[0], "why: "+strings.Join(revocationReasons, ", "))
	cmd.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long the certificate authority may take")
	return finish(env, cmd, o.run, true)
}

func (o *revokeOptions) run(ctx context.Context, c *client, args []string) error {
	name, err := oneName("revoke", args)
	if err != nil {
		return err
	}
	if !slices.Contains(revocationReasons, o.reason) {
		return usagef("--reason %s: expected one of %s", quote(o.reason), strings.Join(revocationReasons, ", "))
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("revoking the certificate of %q took over %v: see with describe whether it is done", name, o.timeout))
		defer cancel()
	}
	ask := request{method: http.MethodPost, name: name, subresource: "revoke", query: url.Values{"reason": {o.reason}}, contentType: typeJSON, body: []byte("{}")}
	u, _, err := c.object(ctx, ask)
	if apierrors.IsNotFound(err) {
		if found := c.byHostname(ctx, name); found != nil {
			ask.name = found.GetName()
			u, _, err = c.object(ctx, ask)
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(o.env.Stdout, "%s certificate revoked, another with a new key is being obtained\n", told(u.GetName()))
	return nil
}
