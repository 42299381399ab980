package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func compactCommand(refuse refuser) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "compact [--config CADDYFILE | --store 'bolt PATH']",
		Short: "Makes the file of a store smaller, while Caddy is stopped",
		Long: `Writes the file of a bolt store anew without the room in it that is free, such
as after many records were deleted, and prints its size before and after. The
Caddy does so itself while it runs, once more than half of the file is free, so
this is seldom needed. Caddy must be stopped. The new file takes the old one's place once it is
whole, compared and on the disk; nothing that is in it changes.

An etcd compacts and defragments itself as it is told: this command says how and
leaves it alone.

Exit status: 0 it was done, 1 it was not, 2 wrong usage.`,
		Args: cobra.ArbitraryArgs, SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
	}
	cmd.Flags().String("config", "", "Configuration file to find the store in")
	cmd.Flags().String("adapter", "", "Name of config adapter to apply (if --config is used)")
	cmd.Flags().String("store", "", "The store, as the text of a Caddyfile's store option")
	cmd.SetFlagErrorFunc(refuse)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags := caddycmd.Flags{FlagSet: cmd.Flags()}
		text, config := flags.String("store"), flags.String("config")
		switch {
		case len(args) > 0:
			return refuse(cmd, fmt.Errorf("store compact takes no argument, got %.60q", args[0]))
		case text != "" && config != "":
			return refuse(cmd, errors.New("give one of --config and --store"))
		}
		s, err := namedStore(text, config, flags.String("adapter"), "")
		if err == nil && s.StoreModule == nil {
			err = errors.New("there is no Caddyfile here: name the store with --config or --store")
		}
		if err != nil {
			return refuse(cmd, err)
		}
		ctx, stop := untilInterrupted(cmd.Context())
		defer stop()
		before, after, err := compact(ctx, s.StoreModule)
		if err != nil {
			return fails(cmd, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s has %d bytes now, it had %d.\n", s.Key(), after, before)
		return nil
	}
	return cmd
}

// compact makes the file of a store smaller.
func compact(ctx context.Context, s StoreModule) (before, after int64, err error) {
	b, ok := s.(*BoltStore)
	if !ok {
		return 0, 0, fmt.Errorf("%s has no file here: let etcd compact itself, with --auto-compaction-mode=periodic --auto-compaction-retention=1h, "+
			"and give room back to the disk with `etcdctl defrag --endpoints ENDPOINT`, one member after the other", s.Key())
	}
	before, after, err = boltstore.Compact(ctx, b.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = fmt.Errorf("compacting %s: there is no such file: name another with --store or --config", s.Key())
	case errors.Is(err, boltstore.ErrLocked):
		err = fmt.Errorf("compacting %s: it is in use: stop the Caddy, or the other command, that has it open, and try again", s.Key())
	}
	return before, after, err
}
