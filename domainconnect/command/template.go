package command

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/domainconnect"
)

// Env is what the command needs of the program that it is part of.
type Env struct {
	// Wrong makes an error in the arguments the program's exit status 2; it prints
	// nothing.
	Wrong func(cmd *cobra.Command, err error) error
}

// options are the flags.
type options struct {
	zone, provider, service   string
	providerName, serviceName string
	logo, lint                string
	version                   int
}

// New returns the command `template`, which writes the template to standard output, or
// with --lint says what is wrong with one.
func New(env Env) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "template",
		Short: "Writes or examines the Domain Connect template for DNS providers",
		Long: `
Writes the template that DNS providers are given, so that customers create their DNS
records with one click. The ids are those of domain_connect in the Caddyfile. With
--lint FILE (- is standard input) it says what is wrong with a template instead: exit
status 1 if providers would refuse it.`,
		Example: `  template --zone cname.example.net --provider-id example.net --service-id custom-domain \
    --provider-name "Example" --service-name "Example Shop" > example.net.custom-domain.json
  template --lint example.net.custom-domain.json`,
	}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	wrong := func(cmd *cobra.Command, err error) error {
		fmt.Fprintf(cmd.ErrOrStderr(), "error: %v (see %s --help)\n", err, cmd.CommandPath())
		return env.Wrong(cmd, err)
	}
	cmd.SetFlagErrorFunc(wrong)
	cmd.Args = cobra.ArbitraryArgs
	f := cmd.Flags()
	f.StringVar(&o.zone, "zone", "", "the operator's zone, such as cname.example.net")
	f.StringVar(&o.provider, "provider-id", "", "the operator's id, best a domain name of its own, such as example.net")
	f.StringVar(&o.service, "service-id", "", "the template's id, such as custom-domain")
	f.StringVar(&o.providerName, "provider-name", "", "the operator's name, for customers to see (default: the id)")
	f.StringVar(&o.serviceName, "service-name", "", "the service's name, for customers to see (default: the id)")
	f.StringVar(&o.logo, "logo", "", "https URL of a logo, for customers to see")
	f.IntVar(&o.version, "template-version", 1, "the template's version, one more with each change")
	f.StringVar(&o.lint, "lint", "", "examine the template in this file")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return wrong(cmd, fmt.Errorf("expected flags alone, got %.60q", args[0]))
		}
		if cmd.Flags().Changed("lint") {
			err := lint(cmd, o.lint)
			if err != nil {
				fmt.Fprintf(cmd.ErrOrStderr(), "error: %v\n", err)
			}
			return err
		}
		raw, err := o.template()
		if err != nil {
			return wrong(cmd, err)
		}
		if _, err = cmd.OutOrStdout().Write(raw); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "error: writing the template: %v\n", err)
		}
		return err
	}
	return cmd
}

// template is what the flags describe. Errors name flag, value and mend.
func (o *options) template() ([]byte, error) {
	for _, flag := range []struct{ name, value, such string }{
		{"zone", o.zone, "cname.example.net"}, {"provider-id", o.provider, "example.net"}, {"service-id", o.service, "custom-domain"},
	} {
		if flag.value == "" {
			return nil, fmt.Errorf("--%s is missing: give one, such as %s", flag.name, flag.such)
		}
	}
	if o.version < 1 {
		return nil, fmt.Errorf("--template-version is %d: expected a number from 1 on", o.version)
	}
	or := func(name, id string) string {
		if name == "" {
			return id
		}
		return name
	}
	names := domainconnect.Names{Provider: or(o.providerName, o.provider), Service: or(o.serviceName, o.service), LogoURL: o.logo}
	t := domainconnect.NewTemplate(domainconnect.Service{ProviderID: o.provider, ServiceID: o.service}, names, o.zone, o.version)
	raw, err := t.JSON()
	if err != nil {
		return nil, err
	}
	for _, fault := range domainconnect.Lint(raw) {
		if fault.Error {
			return nil, fmt.Errorf("the template would be refused: %s", strings.TrimPrefix(fault.String(), "error: "))
		}
	}
	return raw, nil
}

// lint prints the faults of a template. An error: it cannot be read, or providers would
// refuse it.
func lint(cmd *cobra.Command, file string) error {
	raw, err := read(cmd, file)
	if err != nil {
		return fmt.Errorf("reading the template: %w", err)
	}
	faults := domainconnect.Lint(raw)
	for _, fault := range faults {
		fmt.Fprintln(cmd.OutOrStdout(), fault)
	}
	if domainconnect.Errors(faults) {
		return errors.New("providers would refuse this template: mend the errors above")
	}
	if name, ok := domainconnect.FileName(raw); ok && file != "-" && filepath.Base(file) != name {
		fmt.Fprintf(cmd.OutOrStdout(), "warning: the public collection of templates calls this file %s\n", name)
	}
	return nil
}

func read(cmd *cobra.Command, file string) ([]byte, error) {
	in := cmd.InOrStdin()
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, domainconnect.MaxTemplate+1))
}
