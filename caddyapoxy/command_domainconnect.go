package caddyapoxy

import (
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/cli"
	"github.com/apoxy-dev/caddy-apoxy/domainconnect/command"
)

// domainConnectCommand returns the command "domainconnect".
func domainConnectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "domainconnect <command>",
		Short: "Prepares Domain Connect, one click in place of DNS records",
	}
	refuseUnknown(cmd)
	cmd.AddCommand(command.New(command.Env{
		Wrong: func(cmd *cobra.Command, err error) error { return failed(cmd, cli.ExitUsage, err) },
	}))
	return cmd
}
