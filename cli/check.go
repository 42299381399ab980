package cli

import (
	"fmt"
	"net/url"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/printers"
)

func checkCommand(env Env) *cobra.Command {
	var out output
	var p printers.ResourcePrinter // nil: describe
	cmd := &cobra.Command{
		Use:   "check NAME",
		Short: "Looks at a record's DNS, certificate and target now, and describes it",
		Example: `  caddy apoxy domainrecord check api.example.com
  caddy apoxy domainrecord check api.example.com -o jsonpath={.status.phase}`,
	}
	out.addFlags(cmd)
	a := &action{
		verb: "check", what: "the look at %q", instead: "try again, or give --timeout more",
		prepare: func() (_ url.Values, err error) {
			if out.format != "" {
				p, err = out.printer()
			}
			return nil, err
		},
		show: func(u *unstructured.Unstructured) error {
			if p != nil {
				if err := p.PrintObj(u, env.Stdout); err != nil {
					return fmt.Errorf("printing: %w", err)
				}
				return nil
			}
			r, err := toRecord(u)
			if err != nil {
				return err
			}
			return printPage(env.Stdout, r, env.Now())
		},
	}
	return a.command(env, cmd, "how long the look may take")
}
