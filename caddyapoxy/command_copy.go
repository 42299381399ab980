package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func copyCommand(refuse refuser) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "copy --from CADDYFILE|STORE --to CADDYFILE|STORE",
		Short: "Copies everything from one store into another, of any engine",
		Long: `Copies everything from one store into another, of the same engine or not. Both
are a Caddyfile or a configuration in JSON, whose store is meant, or the text of
a Caddyfile's store line:

  caddy apoxy store copy --from 'bolt ./apoxy.db' \
    --to 'etcd { endpoints http://10.0.0.1:2379 }'

The store to copy into must be empty: of bolt, a file that does not exist; of
etcd, a prefix without keys. Nothing is ever overwritten. After a copy that was
broken off, the same command starts over; Caddy does not start on a part.

What is copied is what the store holds at one revision; what is written to it
later is not. To move without loss, stop Caddy, or whatever writes, then copy,
then start Caddy with the other store. If Caddy runs and has the file of bolt
open, it is asked on its admin endpoint (--address, or that of the configuration).

All is read again and compared. A damaged value is named and left out, and
everything else is copied. Meanwhile a temporary file holds the data (TMPDIR).

Exit status: 0 all is copied, 1 something was left out or nothing is copied, 2
wrong usage.`,
		Args: cobra.ArbitraryArgs, SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
	}
	cmd.Flags().String("from", "", "The store to copy from: a configuration file, or the text of a store line")
	cmd.Flags().String("to", "", "The store to copy into: a configuration file, or the text of a store line")
	cmd.Flags().String("address", "", "Address of the administration API listener of the Caddy that has the store open")
	cmd.Flags().String("adapter", "", "Name of config adapter to apply to configuration files")
	cmd.SetFlagErrorFunc(refuse)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags := caddycmd.Flags{FlagSet: cmd.Flags()}
		from, to, adapter := flags.String("from"), flags.String("to"), flags.String("adapter")
		switch {
		case len(args) > 0:
			return refuse(cmd, fmt.Errorf("store copy takes no argument, got %.60q: a text with spaces needs quotes", args[0]))
		case from == "" || to == "":
			return refuse(cmd, errors.New("give both --from and --to"))
		}
		src, err := placeOf("--from", from, adapter)
		if err != nil {
			return refuse(cmd, err)
		}
		dst, err := placeOf("--to", to, adapter)
		if err != nil {
			return refuse(cmd, err)
		}
		if sameStore(src.Key(), dst.Key()) {
			return refuse(cmd, fmt.Errorf("--from and --to are one store, %s", dst.Key()))
		}
		ctx, stop := untilInterrupted(cmd.Context())
		defer stop()
		s := source{store: src.StoreModule, endpoint: func() (*http.Client, string, error) { return src.endpoint(flags.String("address")) }}
		t, err := copyStore(ctx, s, dst.StoreModule, leftOut(cmd.ErrOrStderr()))
		if err != nil {
			return fails(cmd, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "copied %d values, as of revision %d of %s, to %s, and compared them.\n", t.Values, t.Revision, t.Store, dst.Key())
		if t.moving {
			fmt.Fprintln(cmd.OutOrStdout(), "What was written since is not in it: to move without loss, stop Caddy, or whatever writes, and copy then.")
		}
		return incomplete(cmd, t.Damaged)
	}
	return cmd
}

// copyStore copies what a source holds into an empty store.
func copyStore(ctx context.Context, from source, into StoreModule, tell func(key, reason string)) (taken, error) {
	to, ok := into.(fillableStore)
	if !ok {
		return taken{}, fmt.Errorf("%s: nothing can be copied into it in this version", into.Key())
	}
	if err := to.Vacant(ctx); err != nil {
		return taken{}, err
	}
	f, err := os.CreateTemp("", "apoxy-copy-*")
	if err != nil {
		return taken{}, fmt.Errorf("making a temporary file: %w: name a directory with TMPDIR", err)
	}
	_ = os.Remove(f.Name()) // it stays while it is open; where it cannot go yet:
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	t, err := from.spool(ctx, f, tell)
	if err != nil {
		return t, err
	}
	return t, fill(ctx, to, t.Header, f)
}

// leftOut prints keys whose damaged values are left out.
func leftOut(w io.Writer) func(key, reason string) {
	return func(key, reason string) { fmt.Fprintf(w, "left out: %.300q: %.300s\n", key, reason) }
}

// incomplete ends a command that has left damaged values out.
func incomplete(cmd *cobra.Command, damaged int64) error {
	if damaged == 0 {
		return nil
	}
	return fails(cmd, fmt.Errorf("%d damaged values were left out, everything else is there: `caddy apoxy store verify` says what helps", damaged))
}

// untilInterrupted is a context that ends when the process is told to, so that what was
// begun is cleared away.
func untilInterrupted(ctx context.Context) (context.Context, context.CancelFunc) {
	if ctx == nil {
		ctx = context.Background()
	}
	return signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
}
