package caddyapoxy

import (
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/cli"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/command"
)

// functionCommand returns the command "function".
func functionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "function <command>",
		Short: "Works on functions, the targets of the kind EdgeFunction",
	}
	refuseUnknown(cmd)
	cmd.AddCommand(command.New(command.Env{
		Wrong: func(cmd *cobra.Command, err error) error { return failed(cmd, cli.ExitUsage, err) },
	}))
	return cmd
}
