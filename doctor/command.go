package doctor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Env is the world that the command runs in.
type Env struct {
	// Client returns how the admin endpoint is reached: a client and its base
	// URL. It is called once, after flags are parsed. Required.
	Client func(cmd *cobra.Command) (*http.Client, string, error)
	// Flags adds the flags that Client reads. May be nil.
	Flags func(cmd *cobra.Command)
	// Failed turns a failure, which has been printed, into what RunE returns.
	// The codes are 1, something is wrong or could not be examined, and 2,
	// wrong usage. Default: the error itself.
	Failed func(cmd *cobra.Command, code int, err error) error
	// Options are passed on to Examine.
	Options Options
	// Stdout and Stderr default to those of the process.
	Stdout, Stderr io.Writer
}

var errWrong = errors.New("something is wrong with the set-up")

// Command returns the command "doctor".
func Command(env Env) *cobra.Command {
	if env.Stdout == nil {
		env.Stdout = os.Stdout
	}
	if env.Stderr == nil {
		env.Stderr = os.Stderr
	}
	if env.Failed == nil {
		env.Failed = func(_ *cobra.Command, _ int, err error) error { return err }
	}
	var output string
	cmd := &cobra.Command{
		Use:   "doctor [--address ADDRESS] [-o text|json]",
		Short: "Examines the operator's own set-up",
		Long: `Examines the set-up of the running Caddy as the world meets it: whether the
zone is delegated to its name servers (with glue), whether they answer over UDP
and TCP, directly and through the configured resolvers, whether ports 80 and 443
are open at the edge, whether the certificate authorities can be reached, the
clock, CAA, and damage in the store. Each finding says what was seen, what was expected and how to
mend it.

Exit status: 0 nothing is wrong, 1 something is, 2 wrong usage.`,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
	}
	if env.Flags != nil {
		env.Flags(cmd)
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "how to write the report: text or json")
	fail := func(cmd *cobra.Command, code int, err error) error {
		fmt.Fprintln(env.Stderr, "error: "+clean(strings.Join(strings.Fields(err.Error()), " ")))
		return env.Failed(cmd, code, err)
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return fail(cmd, 2, err) })
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fail(cmd, 2, fmt.Errorf("doctor takes no argument, got %q (see %s --help)", args[0], cmd.CommandPath()))
		}
		if output != "text" && output != "json" {
			return fail(cmd, 2, fmt.Errorf("-o %q: expected text or json", output))
		}
		client, base, err := env.Client(cmd)
		if err != nil {
			return fail(cmd, 2, err)
		}
		setup, err := Learn(cmd.Context(), client, base)
		if err != nil {
			return fail(cmd, 1, err)
		}
		o := env.Options
		o.Admin, o.Base = client, base
		report, err := Examine(cmd.Context(), setup, o)
		if err != nil {
			return fail(cmd, 1, err)
		}
		if err := write(env.Stdout, report, output); err != nil {
			return fail(cmd, 1, err)
		}
		if report.Wrong() > 0 {
			return env.Failed(cmd, 1, errWrong)
		}
		return nil
	}
	return cmd
}

func write(w io.Writer, r Report, output string) error {
	if output == "text" {
		return r.WriteText(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
