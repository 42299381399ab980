package e2e

import (
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// TestTheClusterExample starts the example of three nodes by its one command, and does
// what it says on the screen, word for word.
func TestTheClusterExample(t *testing.T) {
	n := network(t)
	dir := t.TempDir()
	env := []string{"TMPDIR=" + dir, "ACME_CA=" + n.CA.Directory, "CADDY=" + testnet.Program("caddy"), "ETCD=" + testnet.Program("etcd")}
	up, err := testnet.Spawn("TestTheClusterExample", env, "../examples/cluster/up.sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Stop(30 * time.Second) }) // it has ended where the test has come to its end
	var try map[string]string
	eventually(t, 2*time.Minute, "three live nodes", func() error {
		select {
		case <-up.Done():
			t.Fatalf("the example has ended: %s", up.Tail(2000))
		default:
		}
		_, text, live := strings.Cut(string(up.Log()), "Three nodes are live. Try, in another terminal:\n")
		if try = shown(text); !live || !strings.Contains(text, "Ctrl-C") {
			return errorf("it says %s, its nodes %s", up.Tail(1000), logs(dir))
		}
		return nil
	})
	run := func(command string) string {
		t.Helper()
		if command == "" {
			t.Fatalf("the text has no such command: %s", up.Tail(2000))
		}
		out, err := shell(t.Context(), ".", nil, command)
		t.Logf("$ %s\n%s", command, out)
		if err != nil {
			t.Fatalf("%v; its nodes: %s", err, logs(dir))
		}
		return out
	}
	const record = "shop.customer.test"
	answers := func(dig string) {
		t.Helper()
		eventually(t, 15*time.Second, "an answer to "+dig, func() error {
			out, err := shell(t.Context(), ".", nil, dig+" +short +timeout=1 +tries=1")
			if err == nil && strings.TrimSpace(out) != "127.0.0.1" {
				err = errorf("it is %q", out)
			}
			return err
		})
	}

	run(try["apply"])
	if out := run(try["get"]); !strings.Contains(out, record) {
		t.Errorf("the third node does not show %s, which the first has acknowledged", record)
	}
	answers(try["dig"])
	run(try["kill"])
	eventually(t, 30*time.Second, "node n2 to be gone", func() error {
		out, err := shell(t.Context(), ".", nil, try["status"])
		if err == nil && !(strings.Contains(out, "n1  live") && strings.Contains(out, "n2  gone") && strings.Contains(out, "n3  live")) {
			err = errorf("%s", out)
		}
		return err
	})
	run(try["status"])
	for _, port := range []string{"15353", "15355"} {
		dig := strings.Replace(try["dig"], "15354", port, 1)
		if dig == try["dig"] {
			t.Fatalf("%q does not ask the second node", dig)
		}
		answers(dig)
	}
	if out := run(try["get"]); !strings.Contains(out, record) {
		t.Errorf("without the second node the third does not show %s", record)
	}

	if err := up.Interrupt(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-up.Done():
	case <-time.After(30 * time.Second):
		t.Fatalf("it still runs 30 s after SIGINT; its nodes: %s", logs(dir))
	}
	if status := up.ExitCode(); status != 130 {
		t.Errorf("its exit status is %d, want that of a program that SIGINT has ended, 130", status)
	}
	if up.Survived() {
		t.Error("it has left a child behind")
	}
	for _, port := range []string{"12379", "12019", "12020", "12021"} {
		if c, err := net.Dial("tcp", "127.0.0.1:"+port); err == nil {
			c.Close()
			t.Errorf("somebody still listens on port %s", port)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it has left %v, %v", left, err)
	}
}

// shown are the commands of the example's text, each by the word that tells it apart.
func shown(text string) map[string]string {
	commands := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^  (\S.*? (apply|get|status) .*|(dig|kill) .*)$`).FindAllStringSubmatch(text, -1) {
		commands[m[2]+m[3]] = m[1]
	}
	return commands
}

// logs are the ends of what the example's programs have logged.
func logs(dir string) string {
	files, _ := filepath.Glob(filepath.Join(dir, "*", "*.log"))
	var all strings.Builder
	for _, file := range files {
		text, _ := os.ReadFile(file)
		all.WriteString("\n" + filepath.Base(file) + ": " + string(text[max(0, len(text)-500):]))
	}
	return all.String()
}
