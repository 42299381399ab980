package caddyapoxy

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/cli"
	"github.com/apoxy-dev/caddy-apoxy/doctor"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "apoxy",
		Usage: "domainrecord <command>",
		Short: "Manages customers' domains",
		Long: `
Manages customers' domains through the API on Caddy's admin endpoint. Run under
the name apoxy, as through a link, this program takes the commands below
directly.`,
		CobraFunc: func(cmd *cobra.Command) {
			refuseUnknown(cmd)
			cmd.AddCommand(cli.Command(cli.Env{Client: adminClient, Flags: adminFlags, Failed: failed}))
			cmd.AddCommand(cli.BrakeCommand(cli.Env{Client: adminClient, Flags: adminFlags, Failed: failed}))
			cmd.AddCommand(cli.ClusterCommand(cli.Env{Client: adminClient, Flags: adminFlags, Failed: failed}))
			cmd.AddCommand(cli.WebhookCommand(cli.Env{Client: adminClient, Flags: adminFlags, Failed: failed}))
			cmd.AddCommand(storeCommand(), backupCommand(), restoreCommand(), tunnelCommand(), functionCommand(), domainConnectCommand(), completionCommand(), versionCommand())
			cmd.AddCommand(doctor.Command(doctor.Env{Client: adminClient, Flags: adminFlags, Failed: failed}))
		},
	})
}

// refuseUnknown makes what is no command below cmd wrong usage, and returns what
// does that.
func refuseUnknown(cmd *cobra.Command) refuser {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Args = cobra.ArbitraryArgs
	refuse := func(cmd *cobra.Command, err error) error {
		fmt.Fprintf(cmd.ErrOrStderr(), "error: %v (see %s --help)\n", err, cmd.CommandPath())
		return failed(cmd, cli.ExitUsage, err)
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		return refuse(cmd, fmt.Errorf("there is no command %.60q", args[0]))
	}
	cmd.SetFlagErrorFunc(refuse)
	return refuse
}

// adminFlags are the flags by which Caddy's own commands find the endpoint.
func adminFlags(cmd *cobra.Command) {
	cmd.PersistentFlags().String("address", "", "Address of the administration API listener (if --config is not used)")
	cmd.PersistentFlags().String("config", "", "Configuration file to find the address in (if --address is not used)")
	cmd.PersistentFlags().String("adapter", "", "Name of config adapter to apply (if --config is used)")
}

// adminClient reaches the endpoint that the flags name.
func adminClient(cmd *cobra.Command) (*http.Client, string, error) {
	flags := caddycmd.Flags{FlagSet: cmd.Flags()}
	address, config := flags.String("address"), flags.String("config")
	if address == "" && config != "" {
		raw, file, _, err := caddycmd.LoadConfig(config, flags.String("adapter"))
		if err != nil {
			return nil, "", err
		}
		if address, err = adminOf(raw, file); err != nil {
			return nil, "", err
		}
	}
	if address == "" {
		address = caddy.DefaultAdminListen
	}
	return cli.AddressClient(address)
}

// adminOf is the address of the admin endpoint that a configuration in JSON, of a
// file, listens on; empty: the default's.
func adminOf(raw []byte, file string) (string, error) {
	var c struct {
		Admin caddy.AdminConfig `json:"admin"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", fmt.Errorf("reading the admin endpoint's address from %.200q: %w", file, err)
	}
	if c.Admin.Disabled {
		return "", cli.Failure(fmt.Errorf("%.200q says `admin off`: without Caddy's admin endpoint there is no API, and nothing that this command could ask; take that line out, or have it listen on a socket, as with `admin unix//run/caddy/admin.sock`", file))
	}
	return caddy.NewReplacer().ReplaceAll(c.Admin.Listen, ""), nil
}

// failed carries an exit status to Caddy's main function, which knows 1 and, by
// its own wrapper alone, others.
func failed(cmd *cobra.Command, code int, err error) error {
	if code == cli.ExitFailed {
		return err
	}
	// The error has been printed: given on, it would be logged once more.
	return caddycmd.WrapCommandFuncForCobra(func(caddycmd.Flags) (int, error) { return code, nil })(cmd, nil)
}
