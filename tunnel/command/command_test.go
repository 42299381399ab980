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

func TestWrongUseIsOneLineThatSaysWhatToDo(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty, two := file("token", "secret\n"), file("empty", "\n"), file("two", "a b\n")
	t.Setenv(TokenVariable, "")
	for args, want := range map[string]string{
		"":                             "expected one tunnel's name",
		"a b":                          "expected one tunnel's name",
		"office --nope":                "unknown flag: --nope",
		"office":                       "there is no token: give --token-file, or set TUNNEL_TOKEN",
		"office --token-file /nowhere": "reading --token-file: open /nowhere",
		"office --token-file " + empty: "does not hold one token",
		"office --token-file " + two:   "does not hold one token",
		"office --token-file " + good:  "the edge is \"\": expected a URL such as https://edge.example.net",
		"office --to x --token-file " + good + " --edge https://edge.example.net":                                    "the backend is \"x\": expected a URL",
		"office --connections 0 --token-file " + good + " --edge https://e.net --to http://127.0.0.1":                "--connections is 0",
		"office --cert c.pem --token-file " + good + " --edge https://e.net --to http://127.0.0.1":                   "--cert and --key belong together",
		"office --ca " + good + " --token-file " + good + " --edge https://e.net --to http://127.0.0.1":              "holds no certificate in PEM",
		"office --cert " + good + " --key " + good + " --token-file " + good + " --edge https://e.net --to http://x": "reading --cert",
	} {
		wrong := errors.New("wrong")
		cmd := New(Env{Version: "v1", Wrong: func(*cobra.Command, error) error { return wrong }})
		var said bytes.Buffer
		cmd.SetErr(&said)
		cmd.SetOut(&said)
		cmd.SetArgs(strings.Fields(args))
		if err := cmd.ExecuteContext(t.Context()); !errors.Is(err, wrong) {
			t.Errorf("%s: error %v", args, err)
		}
		if line := said.String(); !strings.HasPrefix(line, "error: ") || !strings.Contains(line, want) || strings.Count(line, "\n") != 1 {
			t.Errorf("%s: says %q, want %q", args, line, want)
		}
		if strings.Contains(said.String(), "secret") {
			t.Errorf("%s: the token is printed", args)
		}
	}
}

// A token that changes in its file needs no restart.
func TestTheTokenIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte("one\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := (&options{tokenFile: path}).token()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := read(); got != "two" || err != nil {
		t.Errorf("token %q, %v", got, err)
	}
}
