package e2e

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// TestConformanceDocumentedCalls makes every call of docs/api.md that a shell
// can make, word for word and in its order: first those with curl, then those
// with kubectl and the kubeconfig shown, for both tell the same story.
func TestConformanceDocumentedCalls(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{sites: setupSite})
	doc, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	kubeconfig := regexp.MustCompile("(?s)```yaml\n(apiVersion: v1\nkind: Config\n.*?)```").FindSubmatch(doc)
	if kubeconfig == nil {
		t.Fatal("the page shows no kubeconfig")
	}
	if err := os.WriteFile(filepath.Join(dir, "apoxy.kubeconfig"), kubeconfig[1], 0o644); err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=" + dir, "KUBECONFIG=apoxy.kubeconfig",
		"PATH=" + filepath.Dir(testnet.Program("kubectl")) + ":" + os.Getenv("PATH")}

	if err := n.Delegate("example.com", n.Provider); err != nil {
		t.Fatal(err)
	}
	customer := &domain{name: "example.com", server: n.Provider}
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	for _, program := range []string{"curl", "kubectl"} {
		t.Run(program, func(t *testing.T) {
			made := 0
			for _, block := range blocks {
				if !strings.HasPrefix(block[1], program+" ") {
					continue
				}
				for _, line := range shellCommands(block[1]) {
					if strings.HasPrefix(line, "kubectl wait ") || strings.Contains(line, "/revoke?") {
						// The customer's part, which the page leaves to the customer.
						r, err := p.get(t.Context(), "api.example.com")
						if err != nil {
							t.Fatal(err)
						}
						customer.set(t, r.line(t, "Traffic"), r.line(t, "ACMEChallenge"))
					}
					if strings.Contains(line, "/revoke?") {
						p.await(t, "api.example.com", 30*time.Second, "the certificate", is("TLSReady=True"))
					}
					command := strings.Replace(line, "curl ", "curl --fail-with-body ", 1)
					if strings.HasSuffix(line, " -w") {
						command = "timeout 2 " + command + "; [ $? = 124 ]" // it goes on until it is stopped
					}
					out, err := shell(t.Context(), dir, env, command)
					t.Logf("$ %s\n%s", line, cut(out))
					if err != nil {
						t.Errorf("$ %s\n%v\n%s", line, err, out)
					}
					made++
				}
			}
			if made < 6 {
				t.Errorf("the page shows %d calls with %s", made, program)
			}
		})
	}
}

func cut(text string) string {
	const most = 400
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

// shellCommands splits a block into its commands; quotes and here-documents
// go on over lines.
func shellCommands(block string) []string {
	var all []string
	var command, end string
	for line := range strings.Lines(block) {
		command += line
		if _, word, found := strings.Cut(line, "<<'"); found && end == "" {
			end, _, _ = strings.Cut(word, "'")
			continue
		}
		switch {
		case end != "" && strings.TrimSpace(line) != end, end == "" && strings.Count(command, "'")%2 == 1, strings.HasSuffix(line, "\\\n"):
			continue
		}
		if command = strings.TrimSpace(command); command != "" {
			all = append(all, command)
		}
		command, end = "", ""
	}
	return all
}
