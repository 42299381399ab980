package caddyapoxy

import (
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/cli"
	"github.com/apoxy-dev/caddy-apoxy/tunnel/command"
)

// tunnelCommand connects a Tunnel target from beside its backend.
func tunnelCommand() *cobra.Command {
	return command.New(command.Env{
		Version: version(),
		Wrong:   func(cmd *cobra.Command, err error) error { return failed(cmd, cli.ExitUsage, err) },
	})
}
