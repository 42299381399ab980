package command

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var errUsage = errors.New("wrong usage")

// run runs the command; usage: it was used wrongly.
func run(t *testing.T, in string, args ...string) (out, errs string, err error) {
	t.Helper()
	cmd := New(Env{Wrong: func(*cobra.Command, error) error { return errUsage }})
	var stdout, stderr bytes.Buffer
	cmd.SetIn(strings.NewReader(in))
	cmd.SetOut(&stdout)
	cmd.SetErr(&stderr)
	cmd.SetArgs(args)
	err = cmd.Execute()
	return stdout.String(), stderr.String(), err
}

func TestATemplateIsWrittenAndFoundRight(t *testing.T) {
	out, errs, err := run(t, "", "--zone", "cname.example.net", "--provider-id", "example.net", "--service-id", "custom-domain", "--provider-name", "Example", "--service-name", "Example Shop", "--logo", "https://example.net/logo.svg")
	if err != nil || errs != "" {
		t.Fatalf("%v: %s", err, errs)
	}
	file := filepath.Join(t.TempDir(), "example.net.custom-domain.json")
	if err := os.WriteFile(file, []byte(out), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--lint", file}, {"--lint", "-"}} {
		if out, errs, err := run(t, out, args...); err != nil || out+errs != "" {
			t.Errorf("%q: %v: %s%s", args, err, out, errs)
		}
	}
	other := filepath.Join(filepath.Dir(file), "template.json")
	if err := os.Rename(file, other); err != nil {
		t.Fatal(err)
	}
	if out, _, err := run(t, "", "--lint", other); err != nil || !strings.Contains(out, "example.net.custom-domain.json") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestFaultsAndWrongUsage(t *testing.T) {
	if out, errs, err := run(t, "{}", "--lint", "-"); err == nil || errors.Is(err, errUsage) || !strings.Contains(out, "error: providerId: missing") || !strings.Contains(errs, "mend the errors") {
		t.Errorf("%v: %s%s", err, out, errs)
	}
	if _, errs, err := run(t, "", "--lint", filepath.Join(t.TempDir(), "none.json")); err == nil || errors.Is(err, errUsage) || !strings.Contains(errs, "reading the template") {
		t.Errorf("%v: %s", err, errs)
	}
	whole := []string{"--zone", "cname.example.net", "--provider-id", "example.net", "--service-id", "custom-domain"}
	for want, args := range map[string][]string{
		"--zone is missing":       whole[2:],
		"--service-id is missing": whole[:4],
		"providerId":              {"--zone", "cname.example.net", "--provider-id", "a/b", "--service-id", "x"},
		"syncPubKeyDomain":        {"--zone", "cname", "--provider-id", "example.net", "--service-id", "x"},
		"--template-version is 0": append(whole[:6:6], "--template-version", "0"),
		"logoUrl":                 append(whole[:6:6], "--logo", "http://example.net/"),
		"expected flags alone":    append(whole[:6:6], "more"),
		"unknown flag":            {"--nothing"},
	} {
		if out, errs, err := run(t, "", args...); !errors.Is(err, errUsage) || out != "" || !strings.Contains(errs, want) {
			t.Errorf("%q: %v: %s%s", args, err, out, errs)
		}
	}
}
