package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"
)

type checkOptions struct {
	action
	env Env
	out output
}

func checkCommand(env Env) *cobra.Command {
	o := &checkOptions{action: action{verb: "check"}, env: env}
	cmd := &cobra.Command{
		Use:   "check NAME",
		Short: "Looks at a record's DNS, certificate and target now, and describes it",
		Example: `  caddy apoxy domainrecord check api.example.com
  caddy apoxy domainrecord check api.example.com -o jsonpath={.status.phase}`,
	}
	o.out.addFlags(cmd)
	o.addFlags(cmd, "how long the look may take")
	return finish(env, cmd, o.run, true)
}

func (o *checkOptions) run(ctx context.Context, c *client, args []string) error {
	name, err := oneName(o.verb, args)
	if err != nil {
		return err
	}
	var p printers.ResourcePrinter
	if o.out.format != "" { // before the look: that takes its time
		if p, err = o.out.printer(); err != nil {
			return err
		}
	}
	u, err := o.do(ctx, c, name, nil, fmt.Errorf("the look at %q took over %v: try again, or give --timeout more", name, o.timeout))
	if err != nil {
		return err
	}
	if p != nil {
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
