package cli

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestAPersonIsToldWhatTheCustomerCreates(t *testing.T) {
	s := newStage(t)
	for _, c := range []struct {
		is   string
		args []string
		want string
	}{
		{"nothing at a dry run", []string{"apply", "-f", "-", "--dry-run"},
			"domainrecord.core.apoxy.dev/api.example.com created (server dry run)\n"},
		{"the records when it is new", []string{"apply", "-f", "-"},
			`domainrecord.core.apoxy.dev/api.example.com created

The customer creates at the DNS provider of api.example.com:

  NAME                                TYPE    VALUE                                FOR
  api.example.com.                    CNAME   api.example.com.cname.example.net.   traffic (required)
  _apoxy-challenge.api.example.com.   CNAME   _apoxy-verify.cname.example.net.     proof of ownership (optional)

`},
		{"nothing when it is not", []string{"apply", "-f", "-"},
			"domainrecord.core.apoxy.dev/api.example.com unchanged\n"},
	} {
		t.Run(c.is, func(t *testing.T) {
			out, errs := newScreen(), newScreen()
			cmd := Command(Env{
				Client: s.client, Stdin: strings.NewReader(plain("api.example.com")), Stdout: out, Stderr: errs,
				Terminal: func() bool { return true },
			})
			cmd.SetArgs(c.args)
			if err := cmd.ExecuteContext(t.Context()); err != nil {
				t.Fatalf("%v: %s", err, errs)
			}
			if out.String() != c.want {
				t.Errorf("printed is\n%s\nwant\n%s", out, c.want)
			}
		})
	}
}

// Where the server writes the DNS records later, or the record goes again, apply
// waits no longer than it must.
func TestWhatTheCustomerCreatesMayComeLater(t *testing.T) {
	const later = `{"kind":"DomainRecord","apiVersion":"core.apoxy.dev/v1alpha3","metadata":{"name":"a.example.com","resourceVersion":"6"},"spec":{"name":"a.example.com"},` +
		`"status":{"dnsRecords":[{"purpose":"Traffic","type":"CNAME","name":"a.example.com.","value":"a.example.com.cname.example.net.","required":true}]}}`
	for name, c := range map[string]struct{ event, want string }{
		"later": {`{"type":"MODIFIED","object":` + later + `}`, "a.example.com.   CNAME"},
		"gone":  {`{"type":"DELETED","object":` + aRecord + `}`, "created\n"},
		"cut":   {`{"type":"MODIFIED","object":7}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPatch:
					w.WriteHeader(http.StatusCreated)
					fmt.Fprint(w, aRecord)
				case r.URL.Query().Get("watch") != "":
					fmt.Fprint(w, c.event)
				case strings.HasSuffix(r.URL.Path, collection):
					list := emptyList
					if r.URL.Query().Get("fieldSelector") == "metadata.name=a.example.com" {
						list = strings.Replace(emptyList, "[]", "["+aRecord+"]", 1)
					}
					fmt.Fprint(w, list)
				default:
					answer(http.StatusNotFound, notThere)(w, r)
				}
			}))
			defer srv.Close()
			out := newScreen()
			got := askEnv(t.Context(), Env{
				Client: func(*cobra.Command) (*http.Client, string, error) { return srv.Client(), srv.URL, nil },
				Stdin:  strings.NewReader(plain("a.example.com")), Stdout: out, Terminal: func() bool { return true },
			}, "apply", "-f", "-")
			if c.want == "" {
				if got.code != ExitFailed || !strings.Contains(got.errOut, "reading the record") {
					t.Errorf("%+v", got)
				}
				return
			}
			if got.code != ExitDone || !strings.Contains(out.String(), c.want) {
				t.Errorf("%+v, printed is %q", got, out.String())
			}
		})
	}
}
