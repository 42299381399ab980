package caddyapoxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
)

// backupCommand returns the command "backup".
func backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup FILE [--config CADDYFILE | --store STORE | --address ADDRESS]",
		Short: "Writes everything that the store holds into a file",
		Long: `Writes everything that the store holds, as of one revision, into a new file, from
which "caddy apoxy restore" makes a store of any engine. The file is compressed
and has a checksum; it is read once more before it gets its name. Nothing is
overwritten.

WITH "storage apoxy" THE FILE HOLDS PRIVATE KEYS, AND ALWAYS WHO YOUR CUSTOMERS ARE.
Its mode is 0600; keep it as you keep keys. With another storage, certificates and
keys are there and not in the store: back that up, too.

The store is the one that the configuration names (--config, or ./Caddyfile), or
--store as in a Caddyfile. While Caddy has it open, Caddy itself is asked, on its
admin endpoint, and serves on; --address asks it in any case.

Exit status: 0 all is in the file, 1 there is none, or damaged values were named
and left out of it, 2 wrong usage.`,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
	}
	refuse := refuseUnknown(cmd)
	adminFlags(cmd)
	cmd.PersistentFlags().Lookup("config").Usage = "Configuration file to find the store, and the address, in"
	cmd.Flags().String("store", "", "The store, as the text of a Caddyfile's store option")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags := caddycmd.Flags{FlagSet: cmd.Flags()}
		text, config, address := flags.String("store"), flags.String("config"), flags.String("address")
		switch {
		case len(args) != 1:
			return refuse(cmd, fmt.Errorf("backup takes the name of one file, got %d arguments", len(args)))
		case text != "" && (config != "" || address != "") || config != "" && address != "":
			return refuse(cmd, errors.New("give one of --config, --store and --address"))
		}
		s, err := namedStore(text, config, flags.String("adapter"), address)
		if err != nil {
			return refuse(cmd, err)
		}
		ctx, stop := untilInterrupted(cmd.Context())
		defer stop()
		src := source{store: s.StoreModule, endpoint: func() (*http.Client, string, error) { return s.endpoint(address) }}
		t, err := backupTo(ctx, src, args[0], leftOut(cmd.ErrOrStderr()))
		if err != nil {
			return fails(cmd, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s holds %d values, as of revision %d of %s. Keep it as you keep private keys.\n", args[0], t.Values, t.Revision, t.Store)
		return incomplete(cmd, t.Damaged)
	}
	return cmd
}

// backupTo writes what a source holds into a file that must not exist, and that appears
// once it is whole and on the disk.
func backupTo(ctx context.Context, from source, file string, tell func(key, reason string)) (t taken, err error) {
	if _, err := os.Lstat(file); err == nil {
		return t, backupExists(file)
	}
	dir := filepath.Dir(file)
	f, err := os.CreateTemp(dir, "."+filepath.Base(file)+".*.partial") // of mode 0600
	if err != nil {
		return t, fmt.Errorf("writing a backup: %w", err)
	}
	defer func() {
		_ = f.Close() // it was flushed, or is removed
		_ = os.Remove(f.Name())
	}()
	if t, err = from.spool(ctx, f, tell); err != nil {
		return t, err
	}
	if err := f.Sync(); err != nil {
		return t, fmt.Errorf("writing a backup: %w", err)
	}
	switch err := os.Link(f.Name(), file); {
	case errors.Is(err, fs.ErrExist):
		return t, backupExists(file)
	case err != nil: // a file system without links; nothing stood there a while ago
		if err := os.Rename(f.Name(), file); err != nil {
			return t, fmt.Errorf("writing a backup: %w", err)
		}
	}
	return t, syncDirectory(dir)
}

func backupExists(file string) error {
	return fmt.Errorf("%s exists: nothing is ever overwritten: name another file, such as one with the date", file)
}

// syncDirectory makes the name of a new file durable, where directories can be flushed.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("writing a backup: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && os.PathSeparator == '/' {
		return fmt.Errorf("writing a backup: %w", err)
	}
	return nil
}

// restoreCommand returns the command "restore".
func restoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "restore FILE --config CADDYFILE | --store STORE",
		Short: "Makes a store of the file that \"backup\" wrote",
		Long: `Fills the store that a configuration names (--config), or --store as in a
Caddyfile, with what "caddy apoxy backup" wrote into FILE, of whatever engine that
was. The store must be empty: of bolt, a file that does not exist; of etcd, a
prefix without keys. Nothing is ever overwritten, and Caddy must not use it yet.

The file is read to its end first: one that was cut off or altered is refused
before anything is written. Afterwards the store is compared with it. After a
restore that was broken off, the same command starts over.

Exit status: 0 all is restored, 1 it is not, 2 wrong usage.`,
		SilenceErrors: true, SilenceUsage: true, DisableFlagsInUseLine: true,
	}
	refuse := refuseUnknown(cmd)
	cmd.Flags().String("config", "", "Configuration file that names the store")
	cmd.Flags().String("adapter", "", "Name of config adapter to apply (if --config is used)")
	cmd.Flags().String("store", "", "The store, as the text of a Caddyfile's store option")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		flags := caddycmd.Flags{FlagSet: cmd.Flags()}
		text, config := flags.String("store"), flags.String("config")
		switch {
		case len(args) != 1:
			return refuse(cmd, fmt.Errorf("restore takes the name of one file, got %d arguments", len(args)))
		case (text == "") == (config == ""):
			return refuse(cmd, errors.New("name the store to make: give one of --config and --store"))
		}
		s, err := namedStore(text, config, flags.String("adapter"), "")
		if err != nil {
			return refuse(cmd, err)
		}
		ctx, stop := untilInterrupted(cmd.Context())
		defer stop()
		h, sum, err := restoreFrom(ctx, args[0], s.StoreModule, leftOut(cmd.ErrOrStderr()))
		if err != nil {
			return fails(cmd, err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s holds %d values now, as of revision %d of %s at %s, and they were compared.\n",
			s.Key(), sum.Values, h.Revision, h.Store, h.Time.Format(time.RFC3339))
		return nil
	}
	return cmd
}

// restoreFrom fills an empty store from a file. It calls tell with each key that the
// backup itself has left out, and why.
func restoreFrom(ctx context.Context, file string, into StoreModule, tell func(key, reason string)) (h snapshot.Header, sum snapshot.Sum, err error) {
	to, ok := into.(fillableStore)
	if !ok {
		return h, sum, fmt.Errorf("%s: nothing can be restored into it in this version", into.Key())
	}
	f, err := os.Open(file)
	if err != nil {
		return h, sum, fmt.Errorf("reading the backup: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return h, sum, fmt.Errorf("reading the backup: %s is no regular file, and must be read more than once", file)
	}
	if err := to.Vacant(ctx); err != nil {
		return h, sum, err
	}
	if h, sum, err = snapshot.Check(ctx, io.Reader(f), tell); err != nil {
		return h, sum, fmt.Errorf("reading the backup %s: %w; nothing was written", file, err)
	}
	return h, sum, fill(ctx, to, h, f)
}
