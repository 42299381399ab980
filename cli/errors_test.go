package cli

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestErrorsAreOneLineThatSaysWhatToDo(t *testing.T) {
	const status = `{"kind":"Status","apiVersion":"v1","status":"Failure",`
	for _, c := range []struct {
		is   string
		code int
		body string
		says string
	}{
		{"a status", 422, status + `"reason":"Invalid","message":"wrong: spec.ttl","code":422}`, "error: wrong: spec.ttl"},
		{"a status with a cause that the message leaves out", 422, status + `"reason":"Invalid","message":"wrong","details":{"causes":[{"field":"spec.ttl","message":"too high"}]},"code":422}`, "error: wrong; spec.ttl: too high"},
		{"a status over several lines", 400, status + `"message":"a\nb","code":400}`, "error: a b"},
		{"a status that would draw on the terminal", 400, status + `"message":"\u001b[31mred","code":400}`, "error: ^[[31mred"},
		{"a status without a message", 503, status + `"code":503}`, "error: the server answered 503 Service Unavailable without a message"},
		{"a stale write", 409, status + `"reason":"Conflict","message":"stale","code":409}`, "error: stale; try again on the latest state"},
		{"Caddy without the module", 404, "404 page not found\n", "serves no domain records: does its configuration have the global option apoxy?"},
		{"a refusal of Caddy itself", 403, `{"error":"host not allowed: x"}`, "answered 403 Forbidden: host not allowed: x"},
		{"another server", 500, strings.Repeat("<html>", 100), "answered 500 Internal Server Error: \"<html><html>"},
		{"an answer that is none", 200, "<html>", "it is not the API's"},
	} {
		t.Run(c.is, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(c.code)
				fmt.Fprint(w, c.body)
			}))
			defer srv.Close()
			errs := newScreen()
			cmd := Command(Env{
				Client: func(*cobra.Command) (*http.Client, string, error) { return srv.Client(), srv.URL, nil },
				Stderr: errs, Stdout: newScreen(),
			})
			cmd.SetArgs([]string{"get", "api.example.com", "-o", "yaml"})
			err := cmd.Execute()
			if ExitCode(err) != ExitFailed {
				t.Errorf("exit status %d", ExitCode(err))
			}
			got := errs.String()
			if !strings.Contains(got, c.says) || strings.Count(got, "\n") != 1 || len(got) > 400 {
				t.Errorf("printed is %q, want one line with %q", got, c.says)
			}
		})
	}
}

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		is   string
		err  error
		want int
	}{
		{"done", nil, 0},
		{"a failure", errors.New("x"), 1},
		{"a refusal", &apierrors.StatusError{ErrStatus: metav1.Status{Code: 422}}, 1},
		{"wrong usage", usagef("x"), 2},
		{"wrong usage, wrapped", fmt.Errorf("y: %w", usagef("x")), 2},
		{"a status of its own", statusError{code: 7}, 7},
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%s: %d, want %d", c.is, got, c.want)
		}
	}
}

func TestWarningsArePrinted(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Add("Warning", `299 - "unknown field \"spec.x\""`)
		w.Header().Add("Warning", `nonsense`)
		fmt.Fprint(w, `{"kind":"DomainRecord","apiVersion":"core.apoxy.dev/v1alpha3","metadata":{"name":"x"}}`)
	}))
	defer srv.Close()
	errs := newScreen()
	cmd := Command(Env{
		Client: func(*cobra.Command) (*http.Client, string, error) { return srv.Client(), srv.URL, nil },
		Stderr: errs, Stdout: newScreen(),
	})
	cmd.SetArgs([]string{"get", "x", "-o", "name"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if got, want := errs.String(), "warning: unknown field \"spec.x\"\n"; got != want {
		t.Errorf("printed is %q, want %q", got, want)
	}
}

func TestTheCallerDecidesWhatAFailureReturns(t *testing.T) {
	mine := errors.New("mine")
	code := -1
	cmd := Command(Env{
		Client: func(*cobra.Command) (*http.Client, string, error) { return nil, "", errors.New("no") },
		Stderr: newScreen(), Stdout: newScreen(),
		Failed: func(_ *cobra.Command, c int, _ error) error { code = c; return mine },
	})
	cmd.SetArgs([]string{"get"})
	if err := cmd.Execute(); err != mine || code != ExitUsage {
		t.Errorf("%v, %d", err, code)
	}
}
