package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/cli"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/damage"
)

// storeCommand returns the command "store".
func storeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store <command>",
		Short: "Works on the store that records are kept in",
	}
	refuse := refuseUnknown(cmd)
	cmd.AddCommand(verifyCommand(refuse), copyCommand(refuse), compactCommand(refuse))
	return cmd
}

// refuser makes an error wrong usage of a command.
type refuser func(cmd *cobra.Command, err error) error

func verifyCommand(refuse refuser) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify [--config CADDYFILE | --store 'bolt PATH' | --address ADDRESS]",
		Short: "Looks through the whole store for damage",
		Long: `Looks through the whole store: whether every value's checksum holds, whether
every value decodes as what its key says, whether records and hostnames agree
and, if Caddy is not running, whether the file's own structure is sound. It
changes nothing. Each fault is one line with what to do about it; the last line
has the counts.

The store is the one that the configuration names (--config, or ./Caddyfile), or
--store as in a Caddyfile, such as --store 'bolt ./apoxy.db'. While Caddy uses
it, Caddy itself is asked, on its admin endpoint; --address asks it in any case.

Exit status: 0 the store is sound, 1 faults were found or it could not be looked
through, 2 wrong usage.`,
		Args: cobra.ArbitraryArgs, SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
	}
	adminFlags(cmd)
	cmd.PersistentFlags().Lookup("config").Usage = "Configuration file to find the store, and the address, in"
	cmd.Flags().String("store", "", "The store, as the text of a Caddyfile's store option")
	cmd.SetFlagErrorFunc(refuse)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags := caddycmd.Flags{FlagSet: cmd.Flags()}
		text, config, address := flags.String("store"), flags.String("config"), flags.String("address")
		if len(args) > 0 {
			return refuse(cmd, fmt.Errorf("store verify takes no argument, got %.60q", args[0]))
		}
		if text != "" && (config != "" || address != "") || config != "" && address != "" {
			return refuse(cmd, errors.New("give one of --config, --store and --address"))
		}
		s, err := namedStore(text, config, flags.String("adapter"), address)
		if err != nil {
			return refuse(cmd, err)
		}
		found, err := verify(cmd, s.StoreModule, func() (*http.Client, string, error) { return s.endpoint(address) })
		if err != nil {
			return fails(cmd, err)
		}
		if found > 0 {
			return failed(cmd, cli.ExitFailed, errors.New("the store has faults"))
		}
		return nil
	}
	return cmd
}

// fails prints why a command has failed, in one line, and returns what ends it.
func fails(cmd *cobra.Command, err error) error {
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted: the same command begins anew")
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "error: "+strings.Join(strings.Fields(err.Error()), " "))
	return failed(cmd, cli.ExitFailed, err)
}

// usedElsewhere says of a store that somebody has open that it is not the Caddy at base,
// which has another.
func usedElsewhere(name, base, other string) error {
	return fmt.Errorf("%s is in use by another process, and not by the Caddy at %s, which has %s: stop that process, or give its --address", name, base, other)
}

// verify looks through s, or through what the running Caddy uses if that has s,
// or s is nil, and prints what it finds. It returns how many faults that are.
func verify(cmd *cobra.Command, s StoreModule, endpoint func() (*http.Client, string, error)) (faults int64, err error) {
	out := cmd.OutOrStdout()
	tell := func(f damage.Fault) error { faults++; return printFault(out, f) }
	var name string
	var sum damage.Sum
	locked := false
	if s != nil {
		name = s.Key()
		sum, err = verifyOffline(cmd.Context(), s, tell)
		if locked = errors.Is(err, boltstore.ErrLocked); err != nil && !locked {
			return faults, err
		}
	}
	if s == nil || locked {
		client, base, err := endpoint()
		if err != nil {
			return faults, err
		}
		online := ""
		if online, sum, err = verifyOnline(cmd.Context(), client, base, tell); err != nil {
			return faults, err
		}
		if locked && !sameStore(online, name) {
			return faults, usedElsewhere(name, base, online)
		}
		name = online
	}
	if faults == 0 {
		_, err = fmt.Fprintf(out, "%s is sound: %d values.\n", name, sum.Values)
		return 0, err
	}
	_, err = fmt.Fprintf(out, "%s has faults: %d, among %d values.\n", name, faults, sum.Values)
	return faults, err
}

func printFault(out io.Writer, f damage.Fault) error {
	where := fmt.Sprintf("%.300q", f.Key)
	if f.Key == "" {
		where = "the file"
	}
	_, err := fmt.Fprintf(out, "%s: %s; mend: %s\n", where, strings.Join(strings.Fields(f.What), " "), f.Mend)
	return err
}

// readOnlyStore is a StoreModule whose store can be read while nobody uses it.
type readOnlyStore interface {
	OpenReadOnly() (store.Store, error)
}

// structured is a store whose engine has a structure of its own to look at.
type structured interface {
	Check(ctx context.Context, tell func(what string) error) error
}

// verifyOffline looks through a store that nobody has open. The error wraps
// boltstore.ErrLocked if somebody has.
func verifyOffline(ctx context.Context, s StoreModule, tell func(damage.Fault) error) (damage.Sum, error) {
	r, ok := s.(readOnlyStore)
	if !ok {
		return damage.Sum{}, fmt.Errorf("looking through %s: Caddy must be running", s.Key())
	}
	st, err := r.OpenReadOnly()
	if errors.Is(err, fs.ErrNotExist) {
		return damage.Sum{}, fmt.Errorf("looking through %s: there is no such file: name another with --store or --config", s.Key())
	}
	if err != nil {
		return damage.Sum{}, err
	}
	defer st.Close()
	if c, ok := st.(structured); ok {
		err := c.Check(ctx, func(what string) error {
			return tell(damage.Fault{What: what, Mend: "restore a backup"})
		})
		if err != nil {
			return damage.Sum{}, err
		}
	}
	return damage.Verify(ctx, st, storeRooms(), tell)
}
