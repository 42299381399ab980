package cli

import (
	"strings"
	"testing"
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
