package cli

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	typePEM = "application/x-pem-file"
	// maxPEM bounds certificates and key together, in bytes, as the server does.
	maxPEM = 64 << 10
)

// certificateFlags is what the command certificate is told.
type certificateFlags struct {
	cert, key         string
	untrusted, remove bool
	dryRun            string
}

func certificateCommand(env Env) *cobra.Command {
	var f certificateFlags
	cmd := &cobra.Command{
		Use:   "certificate NAME --cert FILE --key FILE",
		Short: "Shows a record's visitors the customer's own certificate",
		Example: `  caddy apoxy domainrecord certificate api.example.com --cert chain.pem --key key.pem
  caddy apoxy domainrecord certificate api.example.com --cert chain.pem --key key.pem --untrusted
  caddy apoxy domainrecord certificate api.example.com --remove`,
	}
	cmd.Flags().StringVar(&f.cert, "cert", "", "the file with the certificate and those above it, in PEM; - for standard input")
	cmd.Flags().StringVar(&f.key, "key", "", "the file with its private key, in PEM, without a password")
	cmd.Flags().BoolVar(&f.untrusted, "untrusted", false, "take a certificate whose root clients do not know by themselves")
	cmd.Flags().BoolVar(&f.remove, "remove", false, "remove the customer's own certificate; one is obtained again where that can succeed")
	addDryRun(cmd, &f.dryRun)
	a := &action{verb: "certificate", what: "keeping the certificate of %q", instead: "see with describe whether it is shown"}
	a.prepare = func() (url.Values, error) { return f.prepare(a, env.Stdin) }
	a.refused = func(name string, err error) error {
		if s := (*apierrors.StatusError)(nil); f.remove && apierrors.IsNotFound(err) && errors.As(err, &s) && s.Status().Details != nil && s.Status().Details.Name != name {
			return fmt.Errorf("%q has no uploaded certificate to remove", name)
		}
		return err
	}
	a.show = func(u *unstructured.Unstructured) error {
		done := "certificate uploaded"
		if f.remove {
			done = "certificate removed"
		}
		if f.dryRun == "server" {
			done += " (server dry run)"
		}
		_, err := fmt.Fprintf(env.Stdout, "%s %s\n", told(u.GetName()), done)
		return err
	}
	return a.command(env, cmd, "how long the server may take")
}

// prepare reads the files and says what is sent.
func (f *certificateFlags) prepare(a *action, stdin io.Reader) (url.Values, error) {
	query := url.Values{}
	dry, err := checkDryRun(f.dryRun)
	if err != nil {
		return nil, err
	}
	if dry {
		query.Set("dryRun", "All")
	}
	if f.remove {
		if f.cert != "" || f.key != "" || f.untrusted {
			return nil, usagef("--remove goes without --cert, --key and --untrusted")
		}
		a.method, a.body = http.MethodDelete, nil
		return query, nil
	}
	if f.cert == "" || f.key == "" {
		return nil, usagef("certificate takes --cert FILE and --key FILE, or --remove")
	}
	if f.untrusted {
		query.Set("untrusted", "true")
	}
	var all []byte
	for _, file := range []string{f.cert, f.key} {
		text, err := readPEM(file, stdin)
		if err != nil {
			return nil, err
		}
		all = append(append(all, text...), '\n')
		if f.cert == f.key {
			break // both in one file
		}
	}
	a.method, a.contentType, a.body = http.MethodPut, typePEM, all
	return query, nil
}

// readPEM reads a file, or standard input.
func readPEM(name string, stdin io.Reader) ([]byte, error) {
	r, shown := stdin, "standard input"
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate: %w", err)
		}
		defer f.Close()
		r, shown = f, name
	}
	text, err := io.ReadAll(io.LimitReader(r, maxPEM+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", shown, err)
	}
	if len(text) > maxPEM {
		return nil, fmt.Errorf("reading %s: it has over %d KiB: expected one certificate with those above it, and its key", shown, maxPEM>>10)
	}
	return text, nil
}
