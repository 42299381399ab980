package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// TestReadmeStory does what the README tells a newcomer to do, word for word,
// with two exceptions: the program is built already, and no terminal watches.
func TestReadmeStory(t *testing.T) {
	network(t) // the addresses and ports are the run's own from here on
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, story, found := strings.Cut(string(readme), "\n## The story")
	if !found {
		t.Fatal("the README has no section that begins with «The story»")
	}
	story, _, _ = strings.Cut(story, "\n## ")
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(story, -1)
	if len(blocks) < 5 {
		t.Fatalf("the story has %d shell blocks, want the run, the apply, two edits and kubectl", len(blocks))
	}

	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "examples"), os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "examples", "data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(testnet.Program("caddy"), filepath.Join(dir, "caddy")); err != nil {
		t.Fatal(err)
	}
	home := filepath.Join(dir, "home") // Caddy would take its own program, ./caddy, for its data directory
	env := []string{"HOME=" + home, "XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home,
		"PATH=" + filepath.Dir(testnet.Program("kubectl")) + ":" + os.Getenv("PATH")}
	var last string
	for _, block := range blocks {
		for _, line := range commands(block[1]) {
			switch {
			case strings.HasPrefix(line, "go build "), strings.HasSuffix(line, " -w"):
				continue
			case strings.HasPrefix(line, "./caddy run "):
				proc, err := testnet.Spawn("TestReadmeStory", env, "sh", "-c", "cd "+dir+" && exec "+line)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := proc.Stop(20 * time.Second); err != nil {
						t.Error(err)
					}
				})
				eventually(t, 30*time.Second, "the example to serve", func() error {
					out, err := shell(t.Context(), dir, env, "./caddy apoxy domainrecord get")
					if err != nil {
						return fmt.Errorf("%w: %s; its log ends: %s", err, out, proc.Tail(2000))
					}
					return nil
				})
			default:
				out, err := shell(t.Context(), dir, env, line)
				t.Logf("$ %s\n%s", line, out)
				if err != nil {
					described, _ := shell(t.Context(), dir, env, "./caddy apoxy domainrecord describe shop.customer.test")
					t.Fatalf("$ %s\n%v\n%s", line, err, described)
				}
				if strings.HasPrefix(line, "curl ") {
					last = out
				}
			}
		}
	}
	if want := "Hello from shop.customer.test, served by gateway default.\n"; !strings.HasSuffix(last, want) {
		t.Errorf("curl at the end says %q, want %q", last, want)
	}
}

// commands are the command lines of a shell block, continued lines joined.
func commands(block string) []string {
	var lines []string
	for line := range strings.Lines(strings.ReplaceAll(block, "\\\n", " ")) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// shell runs a command line and returns its standard output; an error holds
// what it wrote to standard error.
func shell(ctx context.Context, dir string, env []string, line string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, stderr.String())
	}
	return string(out), err
}
