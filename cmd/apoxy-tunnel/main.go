// Command apoxy-tunnel is the agent of a Tunnel target for small machines: `caddy
// apoxy tunnel` without Caddy.
package main

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/tunnel/command"
)

// errUsage is a wrong use that has been printed.
var errUsage = errors.New("wrong usage")

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // the heap is small: collecting it often costs more than its growth
	}
	cmd := command.New(command.Env{Version: version(), Wrong: func(*cobra.Command, error) error { return errUsage }})
	cmd.Use = "apoxy-" + cmd.Use
	cmd.Example = "  apoxy-" + cmd.Example[2:]
	cmd.Version = version()
	switch err := cmd.Execute(); {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// version is this build's.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
