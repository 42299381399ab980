// Package command is the agent's command line, the same in Caddy and in the small
// agent. It knows nothing of Caddy.
package command

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/tunnel"
)

// TokenVariable holds the token where no file does.
const TokenVariable = "TUNNEL_TOKEN"

// Env is what the command needs of the program that it is part of.
type Env struct {
	// Version is the program's, as the edge tells it.
	Version string
	// Wrong makes an error in the arguments the program's exit status 2; it
	// prints nothing.
	Wrong func(cmd *cobra.Command, err error) error
}

// options are the flags.
type options struct {
	edge, tokenFile, to, healthURI, ca, cert, key, originCA, name string
	insecureOrigin                                                bool
	connections                                                   int
}

// New returns the command `tunnel NAME`, which runs an agent until SIGINT or SIGTERM.
func New(env Env) *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "tunnel NAME --edge https://HOST --token-file FILE --to http://HOST:PORT",
		Short: "Connects a Tunnel target to a backend that cannot be reached from outside",
		Long: `
Connects the tunnel NAME of the edge's configuration to a backend. It dials out
to port 443 alone, through the proxy that HTTPS_PROXY names, if any, and serves
what the edge sends. The token is in a file, or in the variable TUNNEL_TOKEN; it
is read at every dialling, so that a changed one needs no restart.`,
		Example: `  tunnel office --edge https://edge.example.net --token-file ./token --to http://127.0.0.1:3000`,
	}
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	wrong := func(cmd *cobra.Command, err error) error {
		fmt.Fprintf(cmd.ErrOrStderr(), "error: %v (see %s --help)\n", err, cmd.CommandPath())
		return env.Wrong(cmd, err)
	}
	cmd.SetFlagErrorFunc(wrong)
	cmd.Args = cobra.ArbitraryArgs
	f := cmd.Flags()
	f.StringVar(&o.edge, "edge", "", "URL of any HTTPS site of the edge that has the tunnel; every address of its host is connected to")
	f.StringVar(&o.tokenFile, "token-file", "", "file with the token (default: the variable "+TokenVariable+")")
	f.StringVar(&o.to, "to", "", "URL of the backend: http://, https:// or h2c://")
	f.StringVar(&o.healthURI, "health-uri", "", "path that the backend answers with a status below 400 while it is well (default: it is well while it takes connections)")
	f.IntVar(&o.connections, "connections", 2, "connections to each address of the edge")
	f.StringVar(&o.name, "name", "", "how the edge calls this agent (default: the machine's name)")
	f.StringVar(&o.ca, "ca", "", "PEM file of the CAs that the edge's certificate may be of (default: the system's)")
	f.StringVar(&o.cert, "cert", "", "PEM file of a client certificate, where the edge asks for one")
	f.StringVar(&o.key, "key", "", "PEM file of that certificate's key")
	f.StringVar(&o.originCA, "to-ca", "", "PEM file of the CAs that an https backend's certificate may be of (default: the system's)")
	f.BoolVar(&o.insecureOrigin, "to-insecure", false, "take any certificate of an https backend")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return wrong(cmd, errors.New("expected one tunnel's name"))
		}
		agent, err := o.agent(args[0], env.Version, cmd.ErrOrStderr())
		if err != nil {
			return wrong(cmd, err)
		}
		ctx, stop := signal.NotifyContext(cmp.Or(cmd.Context(), context.Background()), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return agent.Run(ctx)
	}
	return cmd
}

// agent is the agent that the flags describe. Errors name flag, value and mend.
func (o *options) agent(name, version string, out io.Writer) (*tunnel.Agent, error) {
	token, err := o.token()
	if err != nil {
		return nil, err
	}
	a := &tunnel.Agent{
		Name: name, Edge: o.edge, To: o.to, Token: token, HealthURI: o.healthURI, Connections: o.connections,
		Version: version, Hostname: o.name, TLS: new(tls.Config), OriginTLS: &tls.Config{InsecureSkipVerify: o.insecureOrigin},
		Logger: slog.New(slog.NewTextHandler(out, nil)),
	}
	if a.Hostname == "" {
		a.Hostname, _ = os.Hostname()
	}
	if o.connections < 1 || o.connections > 16 {
		return nil, fmt.Errorf("--connections is %d: expected 1 to 16", o.connections)
	}
	if a.TLS.RootCAs, err = authorities("--ca", o.ca); err != nil {
		return nil, err
	}
	if a.OriginTLS.RootCAs, err = authorities("--to-ca", o.originCA); err != nil {
		return nil, err
	}
	if (o.cert == "") != (o.key == "") {
		return nil, errors.New("--cert and --key belong together: give both")
	}
	if o.cert != "" {
		pair, err := tls.LoadX509KeyPair(o.cert, o.key)
		if err != nil {
			return nil, fmt.Errorf("reading --cert %.200q and --key %.200q: %w", o.cert, o.key, err)
		}
		a.TLS.Certificates = []tls.Certificate{pair}
	}
	return a, a.Check()
}

// token returns what reads the token, after one successful reading.
func (o *options) token() (func() (string, error), error) {
	read := func() (string, error) {
		raw, err := os.ReadFile(o.tokenFile)
		if err != nil {
			return "", fmt.Errorf("reading --token-file: %w", err)
		}
		token := strings.TrimSpace(string(raw))
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return "", fmt.Errorf("reading --token-file: %.200q does not hold one token of printable ASCII", o.tokenFile)
		}
		return token, nil
	}
	if o.tokenFile == "" {
		token := strings.TrimSpace(os.Getenv(TokenVariable))
		if token == "" {
			return nil, fmt.Errorf("there is no token: give --token-file, or set %s", TokenVariable)
		}
		return func() (string, error) { return token, nil }, nil
	}
	_, err := read()
	return read, err
}

// authorities reads CAs; nil: the system's.
func authorities(flag, file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", flag, err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(raw) {
		return nil, fmt.Errorf("reading %s: %.200q holds no certificate in PEM", flag, file)
	}
	return pool, nil
}
