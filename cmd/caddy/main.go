// Command caddy is Caddy with its standard modules and those of this
// repository. Run under the name apoxy, as through a link, it takes the
// subcommands of `caddy apoxy` directly.
package main

import (
	"os"
	"path/filepath"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/apoxy-dev/caddy-apoxy/caddyapoxy"
)

func main() {
	if name := filepath.Base(os.Args[0]); strings.TrimSuffix(name, ".exe") == "apoxy" {
		os.Args = append(os.Args[:1:1], arguments(os.Args[1:])...)
	}
	caddycmd.Main()
}

// arguments are those of caddy that arguments of apoxy mean: all commands are
// those below `caddy apoxy`.
func arguments(args []string) []string {
	if len(args) == 0 {
		return []string{"apoxy"}
	}
	switch args[0] {
	case "--version", "-v":
		return []string{"apoxy", "version"}
	case cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd: // what a completion script asks
		return append([]string{args[0], "apoxy"}, args[1:]...)
	case "help":
		return append(append([]string{"apoxy"}, args[1:]...), "--help")
	}
	return append([]string{"apoxy"}, args...)
}
