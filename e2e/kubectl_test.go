package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// A current kubectl works on the admin endpoint as on a cluster.
func TestKubectl(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "kubectl")
	host := "api." + customer.name
	run := func(t *testing.T, stdin string, args ...string) string {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		out, err := p.kubectl(ctx, stdin, args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	yaml := func(target string) string {
		return `apiVersion: core.apoxy.dev/v1alpha3
kind: DomainRecord
metadata:
  name: ` + host + `
spec:
  name: ` + host + `
  tls: {}
  target:
    ref: {group: gateway.apoxy.dev, kind: Gateway, name: ` + target + `}
`
	}

	t.Run("apply creates and changes", func(t *testing.T) {
		contains(t, run(t, yaml("other"), "apply", "-f", "-"), "created")
		contains(t, run(t, yaml("default"), "apply", "-f", "-"), "configured")
		contains(t, run(t, yaml("default"), "apply", "-f", "-"), "unchanged")
		contains(t, run(t, "", "get", "dr", host, "-o", "jsonpath={.spec.target.ref.name}"), "default")
	})
	t.Run("get prints the table", func(t *testing.T) {
		out := run(t, "", "get", "domainrecords")
		header, _, _ := strings.Cut(out, "\n")
		if got, want := strings.Join(strings.Fields(header), " "), "NAME HOSTNAME PHASE OWNERSHIP TLS CNAME READY AGE"; got != want {
			t.Errorf("the columns are %q, want %q", got, want)
		}
		contains(t, out, host)
	})
	t.Run("get -o yaml gives the object", func(t *testing.T) {
		out := run(t, "", "get", "dr", host, "-o", "yaml")
		contains(t, out, "kind: DomainRecord", "name: "+host, "resolvedValues:", "- "+host+"."+testnet.Zone+".")
	})
	t.Run("describe tells the conditions", func(t *testing.T) {
		contains(t, run(t, "", "describe", "dr", host), host, "OwnershipVerified", "_acme-challenge."+host)
	})
	t.Run("patch changes by merge and by JSON patch", func(t *testing.T) {
		run(t, "", "patch", "dr", host, "--type=merge", "-p", `{"metadata":{"labels":{"plan":"gold"}}}`)
		contains(t, run(t, "", "get", "dr", "-l", "plan=gold", "-o", "name"), host)
		run(t, "", "patch", "dr", host, "--type=json", "-p", `[{"op":"replace","path":"/spec/ttl","value":77}]`)
		contains(t, run(t, "", "get", "dr", host, "-o", "jsonpath={.spec.ttl}"), "77")
	})
	t.Run("edit saves what the editor leaves", func(t *testing.T) {
		editor := filepath.Join(t.TempDir(), "editor")
		if err := os.WriteFile(editor, []byte("#!/bin/sh\nsed -i 's/ttl: 77/ttl: 78/' \"$1\"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		t.Setenv("KUBE_EDITOR", editor)
		contains(t, run(t, "", "edit", "dr", host), "edited")
		contains(t, run(t, "", "get", "dr", host, "-o", "jsonpath={.spec.ttl}"), "78")
	})
	t.Run("the API refuses what is wrong, naming the field", func(t *testing.T) {
		for _, c := range []struct{ name, stdin, want string }{
			{"an address", strings.ReplaceAll(yaml("default"), host, "192.0.2.1"), "spec.name"},
			{"a public suffix", strings.ReplaceAll(yaml("default"), host, "co.uk"), "spec.name"},
			{"an unknown kind", strings.ReplaceAll(strings.ReplaceAll(yaml("default"), host, "x.kubectl.com"), "kind: Gateway", "kind: Gate"), "spec.target.ref.kind"},
			{"an unknown field", strings.ReplaceAll(yaml("default"), host, "y.kubectl.com") + "  colour: red\n", "colour"},
		} {
			out, err := p.kubectl(t.Context(), c.stdin, "create", "-f", "-")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("creating %s gives %q, %v, want an error that names %s", c.name, out, err, c.want)
			}
		}
		out, err := p.kubectl(t.Context(), "", "patch", "dr", host, "--type=merge", "-p", `{"spec":{"name":"other.kubectl.com"}}`)
		if err == nil || !strings.Contains(err.Error(), "spec.name") {
			t.Errorf("changing spec.name gives %q, %v, want an error that names it", out, err)
		}
	})
	t.Run("wait and get -w see the certificate come", func(t *testing.T) {
		watch := startWatch(t, p, host)
		r, err := p.get(t.Context(), host)
		if err != nil {
			t.Fatal(err)
		}
		customer.set(t, r.line(t, "Traffic"), r.line(t, "ACMEChallenge"))
		contains(t, run(t, "", "wait", "dr/"+host, "--for=condition=Ready", "--timeout=45s"), "condition met")
		watch.until(t, "Active")
	})
	t.Run("server-side apply keeps the other manager's fields", func(t *testing.T) {
		contains(t, run(t, yaml("default"), "apply", "--server-side", "--force-conflicts", "--field-manager=robot", "-f", "-"), "serverside-applied")
		contains(t, run(t, "", "get", "dr", host, "-o", "jsonpath={.spec.ttl} {.metadata.labels.plan}"), "78 gold")
	})
	t.Run("explain tells the fields", func(t *testing.T) {
		contains(t, run(t, "", "explain", "domainrecord.spec"), "target", "ttl")
	})
	t.Run("the events of a deletion are waited for", func(t *testing.T) {
		contains(t, run(t, "", "delete", "dr", host, "--wait", "--timeout=20s"), "deleted")
		if out, err := p.kubectl(t.Context(), "", "get", "dr", host); err == nil || !strings.Contains(err.Error(), "NotFound") {
			t.Errorf("the deleted record gives %q, %v, want NotFound", out, err)
		}
	})
	t.Run("get -o json of none is an empty list", func(t *testing.T) {
		var list struct{ Items []json.RawMessage }
		if err := json.Unmarshal([]byte(run(t, "", "get", "dr", "-o", "json")), &list); err != nil || list.Items == nil || len(list.Items) != 0 {
			t.Errorf("the list is %v, %v, want an empty one", list, err)
		}
	})
}

func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}

// watch is a running "kubectl get -w".
type watch struct{ lines chan string }

func startWatch(t *testing.T, p *product, host string) *watch {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := exec.CommandContext(ctx, testnet.Program("kubectl"), "--server", adminURL, "get", "dr", host, "-w")
	cmd.Env = append(os.Environ(), "HOME="+p.dir, "KUBECONFIG=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w := &watch{lines: make(chan string, 1000)}
	go func() {
		defer close(w.lines)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			w.lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
	})
	w.until(t, host)
	return w
}

// until reads lines until one holds part.
func (w *watch) until(t *testing.T, part string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	var seen []string
	for {
		select {
		case line, open := <-w.lines:
			if seen = append(seen, line); strings.Contains(line, part) {
				return
			}
			if !open {
				t.Fatalf("kubectl get -w ended without a line that holds %q:\n%s", part, strings.Join(seen, "\n"))
			}
		case <-limit:
			t.Fatalf("kubectl get -w printed no line that holds %q:\n%s", part, strings.Join(seen, "\n"))
		}
	}
}
