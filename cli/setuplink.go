package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func setupLinkCommand(env Env) *cobra.Command {
	var expires string
	cmd := &cobra.Command{
		Use:   "setuplink NAME",
		Short: "Makes a link to the page by which the customer sets a record up",
		Example: `  caddy apoxy domainrecord setuplink api.example.com
  caddy apoxy domainrecord setuplink api.example.com --expires 30d`,
	}
	cmd.Flags().StringVar(&expires, "expires", "7d", "for how long the link opens the page, at most 90d")
	a := &action{verb: "setuplink", kind: v1alpha3.SetupLinkKind, what: "making a link for %q", instead: "try again"}
	a.prepare = func() (url.Values, error) {
		lasts, err := linkSeconds(expires)
		if err != nil {
			return nil, err
		}
		a.method, a.contentType = http.MethodPost, typeJSON
		a.body = []byte(`{"expirationSeconds":` + strconv.FormatInt(lasts, 10) + `}`)
		return nil, nil
	}
	a.show = func(u *unstructured.Unstructured) error {
		link, _, err := unstructured.NestedString(u.Object, "status", "url")
		if err != nil || link == "" {
			return errors.New("the answer has no link: is that the admin endpoint of this version's Caddy?")
		}
		if strings.ContainsFunc(link, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("the answer has a link that is none: %s", quote(link))
		}
		_, err = fmt.Fprintln(env.Stdout, link)
		return err
	}
	return a.command(env, cmd, "how long the server may take")
}

// linkSeconds reads how long a link lasts: a duration, of days too.
func linkSeconds(text string) (int64, error) {
	wrong := usagef("--expires %s: expected a time of 1s to 90d, such as 12h or 7d", quote(text))
	var d time.Duration
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 32)
		if err != nil || n < 0 || n > v1alpha3.MaxSetupLink/(24*60*60) {
			return 0, wrong
		}
		d = time.Duration(n) * 24 * time.Hour
	} else {
		var err error
		if d, err = time.ParseDuration(text); err != nil {
			return 0, wrong
		}
	}
	if d < time.Second || d > v1alpha3.MaxSetupLink*time.Second || d%time.Second != 0 {
		return 0, wrong
	}
	return int64(d / time.Second), nil
}
