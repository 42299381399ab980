package cli

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// revocationReasons are those of RFC 5280 section 5.3.1 that make sense here.
var revocationReasons = []string{"unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation"}

func revokeCommand(env Env) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "revoke NAME",
		Short: "Revokes a record's certificate, to be replaced by one with a new key",
		Example: `  caddy apoxy domainrecord revoke api.example.com
  caddy apoxy domainrecord revoke api.example.com --reason keyCompromise`,
	}
	cmd.Flags().StringVar(&reason, "reason", revocationReasons[0], "why: "+strings.Join(revocationReasons, ", "))
	a := &action{
		verb: "revoke", what: "revoking the certificate of %q", instead: "see with describe whether it is done",
		prepare: func() (url.Values, error) {
			if !slices.Contains(revocationReasons, reason) {
				return nil, usagef("--reason %s: expected one of %s", quote(reason), strings.Join(revocationReasons, ", "))
			}
			return url.Values{"reason": {reason}}, nil
		},
		refused: func(name string, err error) error {
			if apierrors.IsConflict(err) { // the only one that a revocation has
				return fmt.Errorf("%q has no certificate to revoke: describe says how far it is from one", name)
			}
			return err
		},
		show: func(u *unstructured.Unstructured) error {
			_, err := fmt.Fprintf(env.Stdout, "%s certificate revoked, another with a new key is being obtained\n", told(u.GetName()))
			return err
		},
	}
	return a.command(env, cmd, "how long the certificate authority may take")
}
