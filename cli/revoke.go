package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// revocationReasons are those of RFC 5280 section 5.3.1 that make sense here.
var revocationReasons = []string{"unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation"}

type revokeOptions struct {
	action
	env    Env
	reason string
}

func revokeCommand(env Env) *cobra.Command {
	o := &revokeOptions{action: action{verb: "revoke"}, env: env}
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revokes a record's certificate, to be replaced by one with a new key",
		Example: `  caddy apoxy domainrecord revoke api.example.com
  caddy apoxy domainrecord revoke api.example.com --reason keyCompromise`,
	}
	cmd.Flags().StringVar(&o.reason, "reason", revocationReasons[0], "why: "+strings.Join(revocationReasons, ", "))
	o.addFlags(cmd, "how long the certificate authority may take")
	return finish(env, cmd, o.run, true)
}

func (o *revokeOptions) run(ctx context.Context, c *client, args []string) error {
	name, err := oneName(o.verb, args)
	if err != nil {
		return err
	}
	if !slices.Contains(revocationReasons, o.reason) {
		return usagef("--reason %s: expected one of %s", quote(o.reason), strings.Join(revocationReasons, ", "))
	}
	u, err := o.do(ctx, c, name, url.Values{"reason": {o.reason}},
		fmt.Errorf("revoking the certificate of %q took over %v: see with describe whether it is done", name, o.timeout))
	if apierrors.IsConflict(err) { // the only one that a revocation has
		return fmt.Errorf("%q has no certificate to revoke: describe says how far it is from one", name)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(o.env.Stdout, "%s certificate revoked, another with a new key is being obtained\n", told(u.GetName()))
	return nil
}
