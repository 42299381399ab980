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
	// URL. It is called once, after flags are parsed. Its error is wrong usage,
	// unless it has a method ExitStatus() int that says otherwise. Required.
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

func (e Env) withDefaults() Env {
	if e.Stdout == nil {
		e.Stdout = os.Stdout
	}
	if e.Stderr == nil {
		e.Stderr = os.Stderr
	}
	if e.Failed == nil {
		e.Failed = func(_ *cobra.Command, _ int, err error) error { return err }
	}
	return e
}

// Command returns the command "doctor".
func Command(env Env) *cobra.Command {
	env = env.withDefaults()
	var output string
	cmd := &cobra.Command{
		Use:   "doctor [--address ADDRESS] [-o text|json]",
		Short: "Examines the operator's own set-up",
		Long: `Examines the set-up of the running Caddy as the world meets it: whether the
zone is delegated to its name servers (with glue), whether they answer over UDP
and TCP, directly and through the configured resolvers, whether ports 80 and 443
are open at the edge, whether the certificate authorities can be reached, the
clock, CAA, and damage in the store. Each finding says what was seen, what was
expected and how to mend it.

Exit status: 0 nothing is wrong, 1 something is, or the doctor could not begin,
2 wrong usage.`,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
	}
	if env.Flags != nil {
		env.Flags(cmd)
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "how to write the report: text or json")
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return env.fail(cmd, 2, err) })
	cmd.Args = cobra.ArbitraryArgs
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return env.fail(cmd, 2, fmt.Errorf("doctor takes no argument, got %.60q (see %s --help)", args[0], cmd.CommandPath()))
		}
		if output != "text" && output != "json" {
			return env.fail(cmd, 2, fmt.Errorf("-o %.60q: expected text or json", output))
		}
		client, base, err := env.Client(cmd)
		if err != nil {
			return env.fail(cmd, statusOf(err), err)
		}
		report, err := env.examine(cmd, client, base)
		if err == nil {
			err = write(env.Stdout, report, output)
		}
		if err != nil {
			return env.fail(cmd, 1, err)
		}
		if report.Wrong() > 0 {
			return env.Failed(cmd, 1, errWrong)
		}
		return nil
	}
	return cmd
}

// examine learns the set-up at the endpoint and looks at everything.
func (e Env) examine(cmd *cobra.Command, client *http.Client, base string) (Report, error) {
	setup, err := Learn(cmd.Context(), client, base)
	if err != nil {
		return Report{}, err
	}
	o := e.Options
	o.Admin, o.Base = client, base
	return Examine(cmd.Context(), setup, o)
}

// fail prints an error in one line.
func (e Env) fail(cmd *cobra.Command, code int, err error) error {
	fmt.Fprintln(e.Stderr, "error: "+printable(strings.Join(strings.Fields(err.Error()), " ")))
	return e.Failed(cmd, code, err)
}

// statusOf is the exit status of an error of Env.Client: its own if it has one, else
// that of wrong usage.
func statusOf(err error) int {
	var own interface{ ExitStatus() int }
	if errors.As(err, &own) {
		return own.ExitStatus()
	}
	return 2
}

func write(w io.Writer, r Report, output string) error {
	if output == "text" {
		return r.WriteText(w)
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
