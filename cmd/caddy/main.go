// Command caddy is Caddy with its standard modules and those of this
// repository. Run under the name apoxy, as through a link, it takes the
// subcommands of `caddy apoxy` directly.
package main

import (
	"os"
	"path/filepath"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/apoxy-dev/caddy-apoxy/caddyapoxy"
)

func main() {
	if name := filepath.Base(os.Args[0]); strings.TrimSuffix(name, ".exe") == "apoxy" {
		os.Args = append([]string{os.Args[0], "apoxy"}, os.Args[1:]...)
	}
	caddycmd.Main()
}
