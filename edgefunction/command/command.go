// Package command serves one function locally, for its development. It knows nothing
// of Caddy.
package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/engines"
)

// Env is what the command needs of the program that it is part of.
type Env struct {
	// Wrong makes an error in the arguments the program's exit status 2; it
	// prints nothing.
	Wrong func(cmd *cobra.Command, err error) error
}

// options are the flags.
type options struct {
	listen, memory     string
	timeout            time.Duration
	env, fetch, mounts []string
}

// New returns the command `run FILE`, which serves a function until SIGINT or SIGTERM.
func New(env Env) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "run FILE",
		Short: "Serves a function locally, for its development",
		Long: `
Serves the function of a file (.wasm, .js, .mjs, .ts or .mts) on a local address,
with the limits and grants of an edgefunction in the Caddyfile. It reloads on every
save. What the function prints goes to standard output; the requests, and errors
with file, line and column, go to standard error.`,
		Example: `  run ./hello.ts
  run ./shop.js --env API_KEY=test --fetch http://127.0.0.1:3000`,
	}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	wrong := func(cmd *cobra.Command, err error) error {
		fmt.Fprintf(cmd.ErrOrStderr(), "error: %v (see %s --help)\n", err, cmd.CommandPath())
		return env.Wrong(cmd, err)
	}
	cmd.SetFlagErrorFunc(wrong)
	cmd.Args = cobra.ArbitraryArgs
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "127.0.0.1:8787", "address to serve on; port 0: one that is free")
	f.StringArrayVar(&o.env, "env", nil, "variable of the function's environment, as KEY=VALUE (repeatable)")
	f.StringArrayVar(&o.fetch, "fetch", nil, "origin that the function may ask, such as https://api.example.net (repeatable)")
	f.StringArrayVar(&o.mounts, "mount", nil, "directory that the function may read, and where it sees it, as DIR:AT (repeatable)")
	f.DurationVar(&o.timeout, "timeout", edgefunction.Defaults.Timeout, "how long a request may keep the function running")
	f.StringVar(&o.memory, "memory", humanize.IBytes(uint64(edgefunction.Defaults.Memory)), "what one instance of the function may hold")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return wrong(cmd, errors.New("expected one function's file"))
		}
		compile, err := engines.For(args[0])
		if err != nil {
			return wrong(cmd, err)
		}
		settings, err := o.settings(args[0])
		if err != nil {
			return wrong(cmd, err)
		}
		ctx, stop := signal.NotifyContext(cmp.Or(cmd.Context(), context.Background()), os.Interrupt, syscall.SIGTERM)
		defer stop()
		if err := run(ctx, o.listen, args[0], compile, settings, cmd.OutOrStdout(), cmd.ErrOrStderr()); err != nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "error: %v\n", err)
			return err
		}
		return nil
	}
	return cmd
}

// settings are those that the flags describe. Errors name flag, value and mend.
func (o *options) settings(file string) (s edgefunction.Settings, err error) {
	if _, port, err := net.SplitHostPort(o.listen); err != nil || port == "" {
		return s, fmt.Errorf("--listen is %.200q: expected an address and a port, such as 127.0.0.1:8787", o.listen)
	}
	base := filepath.Base(file)
	s.Name = strings.TrimSuffix(base, filepath.Ext(base))
	if o.timeout == 0 {
		return s, errors.New("--timeout is 0s: expected a positive duration, such as 10s")
	}
	memory, err := humanize.ParseBytes(o.memory)
	if err != nil || memory == 0 || memory > 1<<62 {
		return s, fmt.Errorf("--memory is %.100q: expected a positive size, such as 128MiB", o.memory)
	}
	if s.Limits, err = (edgefunction.Limits{Timeout: o.timeout, Memory: int64(memory)}).Filled(); err != nil {
		return s, fmt.Errorf("--%w", err)
	}
	if s.Env, err = variables(o.env); err != nil {
		return s, err
	}
	for _, text := range o.fetch {
		origin, err := edgefunction.Origin(text)
		if err != nil {
			return s, fmt.Errorf("--fetch: %w", err)
		}
		s.Fetch = append(s.Fetch, origin)
	}
	for _, text := range o.mounts {
		dir, at, found := strings.Cut(text, ":")
		if !found {
			return s, fmt.Errorf("--mount is %.200q: expected DIR:AT, such as ./public:/public", text)
		}
		s.Mounts = append(s.Mounts, edgefunction.Mount{Dir: dir, At: at})
	}
	if err := edgefunction.CheckMounts(s.Mounts); err != nil {
		return s, fmt.Errorf("--%w", err)
	}
	return s, nil
}

// variables reads KEY=VALUE. Values may be secrets: errors do not tell them.
func variables(texts []string) (map[string]string, error) {
	env := make(map[string]string, len(texts))
	for _, text := range texts {
		key, value, found := strings.Cut(text, "=")
		if !found { // it may be a value
			return nil, errors.New("--env has no equals sign: expected KEY=VALUE, such as API_KEY=test")
		}
		if err := edgefunction.CheckVariable(key); err != nil {
			return nil, fmt.Errorf("--%w", err)
		}
		if _, twice := env[key]; twice {
			return nil, fmt.Errorf("--env: there are two values of %.100q: take one out", key)
		}
		env[key] = value
	}
	return env, nil
}
