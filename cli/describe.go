package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
)

func describeCommand(env Env) *cobra.Command {
	var labels string
	cmd := &cobra.Command{
		Use:   "describe NAME... | -l SELECTOR",
		Short: "Shows a record in full: what is wanted, what was seen, and how to mend it",
		Example: `  caddy apoxy domainrecord describe api.example.com
  caddy apoxy domainrecord describe -l core.apoxy.dev/owner=acme`,
	}
	cmd.Flags().StringVarP(&labels, "selector", "l", "", "every record whose labels match")
	return finish(env, cmd, func(ctx context.Context, c *client, args []string) error {
		names, err := selectNames(ctx, c, args, labels, false)
		if err != nil {
			return err
		}
		var errs []error
		shown := 0
		for _, name := range names {
			r, err := c.record(ctx, name)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			if shown++; shown > 1 {
				fmt.Fprint(env.Stdout, "\n\n")
			}
			if err := printPage(env.Stdout, r, env.Now()); err != nil {
				return err
			}
		}
		return join(errs)
	}, true)
}
