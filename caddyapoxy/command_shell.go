package caddyapoxy

import (
	"fmt"
	"runtime/debug"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
)

// completionCommand returns the command "completion". Caddy's own writes scripts
// for the name caddy; this one's are for a link to the program named apoxy, which
// they ask what there is.
func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	cmd := &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Prints a script that completes the commands of apoxy",
		Long: `Prints a script that completes commands, flags and the names of records in a
shell, where this program is run under the name apoxy. Under its own name it is
completed by the script of "caddy completion".`,
		Example: `  source <(apoxy completion bash)
  apoxy completion zsh > "${fpath[1]}/_apoxy"
  apoxy completion fish > ~/.config/fish/completions/apoxy.fish`,
		ValidArgs: shells, DisableFlagsInUseLine: true,
	}
	refuse := refuseUnknown(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		shell := ""
		if len(args) == 1 {
			shell = args[0]
		}
		out, apoxy := cmd.OutOrStdout(), &cobra.Command{Use: "apoxy"}
		switch shell {
		case "bash":
			return apoxy.GenBashCompletionV2(out, true)
		case "zsh":
			return apoxy.GenZshCompletion(out)
		case "fish":
			return apoxy.GenFishCompletion(out, true)
		case "powershell":
			return apoxy.GenPowerShellCompletionWithDesc(out)
		}
		return refuse(cmd, fmt.Errorf("completion takes one of %q, got %.60q", shells, args))
	}
	return cmd
}

// versionCommand returns the command "version".
func versionCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "version", Short: "Prints the versions of this plugin and of Caddy"}
	refuse := refuseUnknown(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return refuse(cmd, fmt.Errorf("version takes no argument, got %.60q", args[0]))
		}
		_, full := caddy.Version()
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "apoxy %s, Caddy %s\n", pluginVersion(), full)
		return err
	}
	return cmd
}

// pluginVersion is that of the module that this package is of; "(devel)" in a
// build from its own tree without a tag.
func pluginVersion() string {
	const module = "github.com/apoxy-dev/caddy-apoxy"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path == module && m.Version != "" {
			return m.Version
		}
	}
	return "(devel)"
}
