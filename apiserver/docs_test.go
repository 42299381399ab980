package apiserver

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// TestDocumentedCalls makes every curl call of docs/api.md, in their order.
func TestDocumentedCalls(t *testing.T) {
	raw, err := os.ReadFile("../docs/api.md")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.s.cfg.Check = func(context.Context, string) error { return nil }
	w.s.cfg.SetupLink = func(context.Context, *v1alpha3.DomainRecord, time.Time) (string, error) {
		return "https://setup.example.net/x", nil
	}
	w.s.cfg.Revoke = func(context.Context, string, string) error { return nil }
	calls := 0
	for _, args := range curls(string(raw)) {
		method, url, body, headers := "GET", "", "", []string{"X-From", "docs"}
		for i := 1; i < len(args); i++ {
			switch a := args[i]; a {
			case "-sS", "-N":
			case "-X", "-H", "-d":
				i++
				switch a {
				case "-X":
					method = args[i]
				case "-d":
					body = args[i]
				default:
					name, value, _ := strings.Cut(args[i], ": ")
					headers = append(headers, name, value)
				}
			default:
				url = a
			}
		}
		path, ok := strings.CutPrefix(url, "http://localhost:2019")
		if !ok {
			t.Fatalf("%q does not call the admin endpoint", args)
		}
		if a := w.call(method, path, body, headers...); a.code/100 != 2 {
			t.Errorf("%q: status %d: %s", args, a.code, a.body)
		}
		calls++
	}
	if calls < 8 {
		t.Errorf("%d calls found", calls)
	}
}

// curls returns the words of each curl command in the text's sh blocks.
func curls(text string) [][]string {
	var all [][]string
	blocks := strings.Split(text, "```")
	for i := 1; i < len(blocks); i += 2 {
		block, ok := strings.CutPrefix(blocks[i], "sh\n")
		if !ok || !strings.HasPrefix(block, "curl ") {
			continue
		}
		for rest := strings.ReplaceAll(block, "\\\n", " "); strings.TrimSpace(rest) != ""; {
			var words []string
			words, rest = command(rest)
			all = append(all, words)
		}
	}
	return all
}

// command splits the first command off, by blanks and single quotes.
func command(s string) (words []string, rest string) {
	var word strings.Builder
	quoted, begun := false, false
	end := func() {
		if begun {
			words = append(words, word.String())
		}
		word.Reset()
		begun = false
	}
	for i, r := range s {
		switch {
		case r == '\'':
			quoted, begun = !quoted, true
		case quoted || r != ' ' && r != '\n':
			word.WriteRune(r)
			begun = true
		case r == '\n':
			end()
			return words, s[i+1:]
		default:
			end()
		}
	}
	end()
	return words, ""
}
