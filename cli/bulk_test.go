package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

// applyDir runs an apply and returns what it printed, and its exit status.
func applyDir(t *testing.T, w *world, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := Command(Env{
		Client: func(*cobra.Command) (*http.Client, string, error) {
			return AddressClient(strings.TrimPrefix(w.front.URL, "http://"))
		},
		Now: func() time.Time { return start }, Stdout: &out, Stderr: &errs, Stdin: strings.NewReader(""),
	})
	cmd.SetOut(io.Discard)
	cmd.SetErr(io.Discard)
	cmd.SetArgs(append([]string{"apply"}, args...))
	code = ExitCode(cmd.Execute())
	return out.String(), errs.String(), code
}

func manifestOf(i int, more string) string {
	return fmt.Sprintf("apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\nspec:\n  name: n%03d.example.com\n  target: {ref: {kind: Gateway, name: default}}\n%s", i, more)
}

// TestApplyOfManyTellsEachItsPlace: more manifests than go one by one are answered as if
// each had gone by itself, in their order, whether or not the server takes them so.
func TestApplyOfManyTellsEachItsPlace(t *testing.T) {
	for _, old := range []bool{false, true} {
		t.Run(fmt.Sprintf("old=%v", old), func(t *testing.T) {
			dir := t.TempDir()
			w, err := newWorld(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(w.close)
			w.noSSA.Store(old)
			const n = bulkFrom + 150
			many := ""
			for i := range n {
				text := manifestOf(i, "")
				switch i {
				case 7:
					text = "{"
				case 120:
					text = strings.ReplaceAll(text, "n120.example.com", "localhost")
				case 130:
					text = manifestOf(i, "  zone: z\n")
				}
				if i >= 200 {
					many += "---\n" + text
					continue
				}
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("f%03d.yaml", i)), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(dir, "z.yaml"), []byte(many), 0o600); err != nil {
				t.Fatal(err)
			}
			for _, what := range []string{"created", "unchanged"} {
				out, errs, code := applyDir(t, w, "-f", dir)
				var want strings.Builder
				for i := range n {
					if i != 7 && i != 120 && i != 130 {
						fmt.Fprintf(&want, "domainrecord.core.apoxy.dev/n%03d.example.com %s\n", i, what)
					}
				}
				if out != want.String() {
					t.Errorf("%s: %d lines of %d: %s", what, strings.Count(out, "\n"), n-3, out)
				}
				for _, place := range []string{"f007.yaml", "f120.yaml", "spec.name", "f130.yaml", `unknown field "spec.zone"`} {
					if !strings.Contains(errs, place) {
						t.Errorf("%s: the errors do not tell of %s: %s", what, place, errs)
					}
				}
				if code != ExitFailed {
					t.Errorf("exit status %d", code)
				}
			}
			if out, _, _ := applyDir(t, w, "-f", filepath.Join(dir, "z.yaml")); strings.Count(out, "unchanged") != n-200 {
				t.Errorf("one file: %s", out)
			}
			if out, errs, code := applyDir(t, w, "-f", dir, "--server-side", "--field-manager=x", "--dry-run=server"); strings.Count(out, "serverside-applied (server dry run)") != n-3 || code != ExitFailed {
				t.Errorf("dry run: %s%s", out, errs)
			}
		})
	}
}
