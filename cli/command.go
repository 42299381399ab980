package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Env is the world that the commands run in.
type Env struct {
	// Client returns how the API is reached: a client and the base URL of the
	// endpoint, such as http://localhost:2019. It is called once per command,
	// after flags are parsed; see AddressClient. Required.
	Client func(cmd *cobra.Command) (*http.Client, string, error)
	// Flags adds the flags that Client reads, such as --address, to the
	// command; every command below inherits them. May be nil.
	Flags func(cmd *cobra.Command)
	// Failed turns a failure, which has been printed, into what a command's
	// RunE returns, for callers that carry exit statuses their own way.
	// Default: the error itself, see ExitCode.
	Failed func(cmd *cobra.Command, code int, err error) error

	// Stdin, Stdout and Stderr default to those of the process.
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Terminal reports whether a person reads Stdout. Default: whether it is
	// a terminal.
	Terminal func() bool
	// Now defaults to time.Now.
	Now func() time.Time
	// Getenv, which names the editor, defaults to os.Getenv.
	Getenv func(string) string
}

func (e Env) withDefaults() Env {
	if e.Stdin == nil {
		e.Stdin = os.Stdin
	}
	if e.Stdout == nil {
		e.Stdout = os.Stdout
	}
	if e.Stderr == nil {
		e.Stderr = os.Stderr
	}
	if e.Terminal == nil {
		e.Terminal = func() bool { return printers.IsTerminal(e.Stdout) }
	}
	if e.Now == nil {
		e.Now = time.Now
	}
	if e.Getenv == nil {
		e.Getenv = os.Getenv
	}
	if e.Failed == nil {
		e.Failed = func(_ *cobra.Command, _ int, err error) error { return err }
	}
	return e
}

// Command returns the command "domainrecord" with everything below it. It
// prints its own errors, one line each on Stderr.
func Command(env Env) *cobra.Command {
	env = env.withDefaults()
	root := &cobra.Command{
		Use:     v1alpha3.Singular,
		Aliases: []string{v1alpha3.Resource, "domain", "domains", v1alpha3.ShortName},
		Short:   "Manages domain records through Caddy's admin endpoint",
		Long: `Manages DomainRecords, the hostnames of customers, through the API on Caddy's
admin endpoint. The commands are those of kubectl, which works on the same
endpoint too.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
	}
	finishGroup(env, root)
	for _, add := range []func(Env) *cobra.Command{
		getCommand, applyCommand, deleteCommand, describeCommand, waitCommand, checkCommand, revokeCommand, certificateCommand, setupLinkCommand,
		editCommand, labelCommand, annotateCommand, diffCommand,
	} {
		root.AddCommand(add(env))
	}
	return root
}

// run is the work of a command. Its error is printed and decides the exit
// status.
type run func(ctx context.Context, c *client, args []string) error

// finish completes a command: its work, how it fails, and that cobra stays
// silent about failures. Without connect the work gets no client.
func finish(env Env, cmd *cobra.Command, work run, connect bool) *cobra.Command {
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.Args = cobra.ArbitraryArgs // wrong ones are told by the work itself
	cmd.DisableFlagsInUseLine = true
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail(env, cmd, usagef("%v", err))
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var c *client
		if connect {
			httpClient, base, err := env.Client(cmd)
			if _, failed := errors.AsType[statusError](err); failed {
				return fail(env, cmd, err)
			}
			if err != nil {
				return fail(env, cmd, usageError{err})
			}
			c = &client{http: httpClient, base: strings.TrimSuffix(base, "/"), warn: env.Stderr, patience: patienceOf(cmd)}
		}
		if err := work(cmd.Context(), c, args); err != nil {
			return fail(env, cmd, err)
		}
		return nil
	}
	if connect {
		cmd.ValidArgsFunction = completeNames(env)
	}
	return cmd
}

// finishGroup completes a command that is there for those below it.
func finishGroup(env Env, root *cobra.Command) {
	root.SuggestionsMinimumDistance = 2
	addPatience(root)
	if env.Flags != nil {
		env.Flags(root)
	}
	finish(env, root, func(_ context.Context, _ *client, args []string) error {
		if len(args) == 0 {
			return root.Help()
		}
		msg := "there is no command " + quote(args[0])
		if near := root.SuggestionsFor(args[0]); len(near) > 0 {
			msg += ", is it " + strings.Join(near, " or ") + "?"
		}
		return usagef("%s; %s --help lists them", msg, root.CommandPath())
	}, false)
}

// completeNames offers the names of records to the shell.
func completeNames(env Env) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		httpClient, base, err := env.Client(cmd)
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		c := &client{http: httpClient, base: strings.TrimSuffix(base, "/"), warn: io.Discard}
		ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
		defer cancel()
		list, err := c.list(ctx, listQuery{limit: 500})
		if err != nil {
			return nil, cobra.ShellCompDirectiveError
		}
		var names []cobra.Completion
		for i := range list.Items {
			if name := list.Items[i].GetName(); strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}
