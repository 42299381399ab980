package cli

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

type checkOptions struct {
	env     Env
	out     output
	timeout time.Duration
}

func checkCommand(env Env) *cobra.Command {
	o := &checkOptions{env: env}
	cmd := &cobra.Command{
		Use:   "check NAME",
		Short: "Looks at a record's DNS, certificate and target now, and describes it",
		Example: `  caddy apoxy domainrecord check api.example.com
  caddy apoxy domainrecord check api.example.com -o jsonpath={.status.phase}`,
	}
	o.out.addFlags(cmd)
	cmd.Flags().DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long the look may take")
	return finish(env, cmd, o.run, true)
}

func (o *checkOptions) run(ctx context.Context, c *client, args []string) error {
	name, err := oneName("check", args)
	if err != nil {
		return err
	}
	if o.out.format == "wide" {
		return usagef("check prints no table: leave -o out, or give -o yaml")
	}
	if o.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("the look at %q took over %v: try again, or give --timeout more", name, o.timeout))
		defer cancel()
	}
	ask := request{method: http.MethodPost, name: name, subresource: "check", contentType: typeJSON, body: []byte("{}")}
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
	if o.out.format != "" {
		p, err := o.out.printer()
		if err != nil {
			return err
		}
		if err := p.PrintObj(u, o.env.Stdout); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
		return nil
	}
	r, err := toRecord(u)
	if err != nil {
		return err
	}
	return printPage(o.env.Stdout, r, o.env.Now())
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
