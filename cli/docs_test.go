package cli

import (
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const invocation = "caddy apoxy domainrecord "

func TestTheManualNamesEveryCommandAndFlag(t *testing.T) {
	raw, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	manual := string(raw)
	for _, cmd := range Command(Env{}).Commands() {
		if !strings.Contains(manual, invocation+cmd.Name()) {
			t.Errorf("docs/cli.md has no example of %s", cmd.Name())
		}
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(manual, "--"+f.Name) && !strings.Contains(manual, "`-"+f.Shorthand+"`") {
				t.Errorf("docs/cli.md does not name --%s of %s", f.Name, cmd.Name())
			}
		})
	}
}

func TestEveryExampleParses(t *testing.T) {
	raw, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{string(raw)}
	for _, cmd := range Command(Env{}).Commands() {
		if cmd.Example == "" {
			t.Errorf("%s has no example", cmd.Name())
		}
		texts = append(texts, cmd.Example)
	}
	n := 0
	for _, text := range texts {
		for line := range strings.Lines(text) {
			_, rest, ok := strings.Cut(line, invocation)
			if !ok || strings.HasPrefix(line, "`") {
				continue
			}
			n++
			args := strings.Fields(strings.ReplaceAll(rest, "'", ""))
			root := Command(Env{})
			cmd, rest2, err := root.Find(args)
			if err != nil || cmd == root {
				t.Errorf("%s: no such command: %v", line, err)
				continue
			}
			parse(t, cmd, rest2, line)
		}
	}
	if n < 30 {
		t.Errorf("%d examples were found", n)
	}
}

func parse(t *testing.T, cmd *cobra.Command, args []string, line string) {
	t.Helper()
	if err := cmd.ParseFlags(args); err != nil {
		t.Errorf("%s: %v", strings.TrimSpace(line), err)
	}
	if f := cmd.Flags().Lookup("for"); f != nil {
		if _, err := parseGoal(f.Value.String()); err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(line), err)
		}
	}
	if f := cmd.Flags().Lookup("output"); f != nil && f.Changed && f.Value.String() != "wide" {
		if _, err := (&output{format: f.Value.String()}).printer(); err != nil {
			t.Errorf("%s: %v", strings.TrimSpace(line), err)
		}
	}
}
