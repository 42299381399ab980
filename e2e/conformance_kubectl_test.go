package e2e

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// kubectl runs kubectl on a product; its home is the product's directory.
type kubectl struct {
	p *product
}

func newKubectl(p *product) kubectl { return kubectl{p} }

func (s kubectl) try(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return s.p.kubectl(ctx, stdin, args...)
}

// run demands success and that the output holds every part.
func (s kubectl) run(t *testing.T, stdin string, args []string, parts ...string) string {
	t.Helper()
	out, err := s.try(t, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	contains(t, out, parts...)
	return out
}

// fails demands a failure whose error holds every part.
func (s kubectl) fails(t *testing.T, stdin string, args []string, parts ...string) {
	t.Helper()
	out, err := s.try(t, stdin, args...)
	if err == nil {
		t.Errorf("kubectl %s succeeds: %s", strings.Join(args, " "), out)
		return
	}
	contains(t, err.Error(), parts...)
}

// words splits a command line at blanks.
func words(line string) []string { return strings.Fields(line) }

// yamlOf is a record's manifest.
func yamlOf(host, target string, lines ...string) string {
	text := "apiVersion: core.apoxy.dev/v1alpha3\nkind: DomainRecord\nmetadata:\n  name: " + host + "\nspec:\n  name: " + host +
		"\n  target:\n    ref: {group: gateway.apoxy.dev, kind: Gateway, name: " + target + "}\n"
	return text + strings.Join(append(lines, ""), "\n")
}

func TestConformanceKubectlDiscovery(t *testing.T) {
	p := start(t, network(t), settings{checkInterval: time.Hour})
	s := newKubectl(p)
	s.run(t, yamlOf("a.discovery.com", "default"), words("apply -f -"), "domainrecord.core.apoxy.dev/a.discovery.com created")

	t.Run("api-resources names the kind, its short name and its verbs", func(t *testing.T) {
		s.run(t, "", words("api-resources -o wide"), "domainrecords", " dr ", "core.apoxy.dev/v1alpha3", "false", "DomainRecord", "deletecollection", "watch")
		s.run(t, "", words("api-versions"), "core.apoxy.dev/v1alpha3")
		s.run(t, "", words("get --raw /version"), `"gitVersion"`)
	})
	t.Run("discovery is kept on disk and used from there", func(t *testing.T) {
		found, err := filepath.Glob(filepath.Join(p.dir, ".kube/cache/discovery/*/core.apoxy.dev/v1alpha3/serverresources.json"))
		if err != nil || len(found) != 1 {
			t.Errorf("the discovery cache holds %v, %v", found, err)
		}
		if out, err := s.try(t, "", "get", "dr", "-v=6"); err != nil || strings.Contains(out, "/api?") {
			t.Errorf("a second command asks for discovery again: %s, %v", out, err)
		}
	})
	t.Run("every way to say the kind works", func(t *testing.T) {
		for _, kind := range words("dr domainrecord domainrecords DomainRecord domainrecords.core.apoxy.dev domainrecords.v1alpha3.core.apoxy.dev") {
			s.run(t, "", []string{"get", kind, "-o", "name"}, "domainrecord.core.apoxy.dev/a.discovery.com")
		}
		s.run(t, "", words("get all,dr"), "a.discovery.com")
	})
	t.Run("explain reads well", func(t *testing.T) {
		out := s.run(t, "", words("explain domainrecord.status.conditions --recursive"),
			"GROUP:      core.apoxy.dev", "KIND:       DomainRecord", "VERSION:    v1alpha3", "FIELD: conditions <[]",
			"DESCRIPTION:", "FIELDS:", "lastTransitionTime\t<string> -required-", "message\t<string> -required-",
			"reason\t<string> -required-", "status\t<string> -required-", "type\t<string> -required-", "observedGeneration\t<integer>")
		if strings.Contains(out, "<empty>") {
			t.Errorf("something is not described:\n%s", out)
		}
		t.Log("\n" + out)
		for _, path := range words("domainrecord domainrecord.spec domainrecord.spec.target.ref domainrecord.spec.tls domainrecord.status domainrecord.status.dnsRecords domainrecord.status.certificate domainrecord.metadata") {
			if out := s.run(t, "", []string{"explain", path}); strings.Contains(out, "<empty>") || strings.Contains(out, "<no description>") {
				t.Errorf("something of %s is not described:\n%s", path, out)
			}
		}
		s.run(t, "", words("explain dr.spec.target.ref.kind"), "ENUM:", "Gateway", "Proxy", "Tunnel", "EdgeFunction")
		s.run(t, "", words("explain dr.spec.target.redirect.statusCode"), "ENUM:", "301", "308", "Default: 302")
		s.fails(t, "", words("explain dr.spec.colour"), `field "colour" does not exist`)
	})
	t.Run("Terraform finds what it looks for before planning", func(t *testing.T) {
		s.run(t, "", words("get customresourcedefinitions.apiextensions.k8s.io -o name"))
		var doc struct {
			Definitions map[string]struct {
				GVK []struct{ Group, Version, Kind string } `json:"x-kubernetes-group-version-kind"`
			}
		}
		if err := json.Unmarshal([]byte(s.run(t, "", words("get --raw /openapi/v2"))), &doc); err != nil {
			t.Fatal(err)
		}
		if _, ok := doc.Definitions["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]; !ok {
			t.Error("OpenAPI v2 does not define ObjectMeta by its usual name")
		}
		kinds := 0
		for _, definition := range doc.Definitions {
			for _, gvk := range definition.GVK {
				if gvk.Group == "core.apoxy.dev" && gvk.Version == "v1alpha3" && gvk.Kind == "DomainRecord" {
					kinds++
				}
			}
		}
		if kinds != 1 {
			t.Errorf("%d definitions of OpenAPI v2 say that they are the DomainRecord, want 1", kinds)
		}
	})
	t.Run("what other kinds are asked for is not found", func(t *testing.T) {
		s.fails(t, "", words("get pods"), `the server doesn't have a resource type "pods"`)
		s.fails(t, "", words("get --raw /api/v1/namespaces"), "NotFound")
	})
}

func TestConformanceKubectlReading(t *testing.T) {
	p := start(t, network(t), settings{checkInterval: time.Hour})
	s := newKubectl(p)
	for _, c := range []struct{ host, target, label string }{
		{"a.reading.com", "default", "gold"}, {"b.reading.com", "default", "silver"}, {"c.reading.com", "api", "gold"},
		{"d.reading.com", "other", "silver"}, {"e.reading.com", "default", "gold"},
	} {
		text := yamlOf(c.host, c.target)
		if c.target == "api" {
			text = strings.ReplaceAll(text, "kind: Gateway", "kind: Proxy")
		}
		s.run(t, text, words("create -f -"), "created")
		s.run(t, "", words("label dr "+c.host+" plan="+c.label), "labeled")
	}
	listed := func(t *testing.T, args string, want ...string) {
		t.Helper()
		out := s.run(t, "", words("get dr -o name "+args))
		got := words(strings.ReplaceAll(out, "domainrecord.core.apoxy.dev/", ""))
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("get dr %s lists %v, want %v", args, got, want)
		}
	}
	t.Run("chunks give the same list", func(t *testing.T) {
		all := words("a.reading.com b.reading.com c.reading.com d.reading.com e.reading.com")
		listed(t, "--chunk-size=2", all...)
		listed(t, "--chunk-size=1", all...)
		listed(t, "--chunk-size=0", all...)
		if out := s.run(t, "", words("get dr --chunk-size=2")); strings.Count(out, "PHASE") != 1 {
			t.Errorf("the header is printed more than once:\n%s", out)
		}
	})
	t.Run("field selectors", func(t *testing.T) {
		listed(t, "--field-selector metadata.name=a.reading.com", "a.reading.com")
		listed(t, "--field-selector spec.name=b.reading.com", "b.reading.com")
		listed(t, "--field-selector spec.target.ref.kind=Proxy", "c.reading.com")
		listed(t, "--field-selector spec.target.ref.name=other,spec.target.ref.kind=Gateway", "d.reading.com")
		listed(t, "--field-selector spec.target.ref.name!=default", "c.reading.com", "d.reading.com")
		s.fails(t, "", words("get dr --field-selector spec.colour=red"), "spec.colour")
	})
	t.Run("label selectors", func(t *testing.T) {
		listed(t, "-l plan=gold", "a.reading.com", "c.reading.com", "e.reading.com")
		listed(t, "-l plan!=gold", "b.reading.com", "d.reading.com")
		listed(t, "-l plan --chunk-size=2 --field-selector spec.target.ref.kind=Proxy", "c.reading.com")
		s.run(t, "", append(words("get dr -o name -l"), "plan in (silver,bronze)"), "b.reading.com", "d.reading.com")
	})
	t.Run("forms of output", func(t *testing.T) {
		s.run(t, "", words("get dr -o wide"), "NAME", "HOSTNAME", "TARGET", "Proxy/api")
		s.run(t, "", words("get dr --show-labels -L plan"), "PLAN", "plan=gold")
		s.run(t, "", words("get dr --sort-by=.spec.target.ref.name --no-headers"))
		s.run(t, "", words("get dr -o custom-columns=HOST:.spec.name,TO:.spec.target.ref.name"), "HOST", "TO", "other")
		s.run(t, "", words("get dr -o jsonpath={.items[*].spec.name}"), "a.reading.com b.reading.com")
		s.run(t, "", words("get dr a.reading.com --show-managed-fields -o yaml"), "managedFields:", "manager: kubectl-create", "manager: kubectl-label")
		s.run(t, "", words("get dr a.reading.com --subresource=status -o jsonpath={.status.phase}"), "Pending")
		s.run(t, "", words("get dr a.reading.com --subresource=status"), "NAME", "Pending")
		s.run(t, "", words("get dr a.reading.com nobody.reading.com --ignore-not-found"), "a.reading.com")
		s.run(t, "", words("describe dr a.reading.com"), "Name:", "API Version:  core.apoxy.dev/v1alpha3", "Kind:         DomainRecord", "plan=gold")
		s.run(t, "", words("describe dr -l plan=silver"), "b.reading.com", "d.reading.com")
	})
	t.Run("what is not there, or has no name of a record, is said", func(t *testing.T) {
		s.fails(t, "", words("get dr nobody.reading.com"), "Error from server (NotFound)", `domainrecords.core.apoxy.dev "nobody.reading.com" not found`)
		s.fails(t, "", words("get dr nobody.reading.com --subresource=status"), "NotFound")
	})
}

func TestConformanceKubectlWatching(t *testing.T) {
	p := start(t, network(t), settings{checkInterval: time.Hour})
	s := newKubectl(p)
	const host = "a.watching.com"
	s.run(t, yamlOf(host, "default"), words("create -f -"))

	t.Run("get -w prints the table row by row", func(t *testing.T) {
		w := startWatch(t, p, host)
		s.run(t, "", words("patch dr "+host+" --subresource=status --type=merge -p {\"status\":{\"phase\":\"Detached\"}}"), "patched")
		w.until(t, "Detached")
	})
	t.Run("wait for what comes", func(t *testing.T) {
		waiting := func(args string) chan error {
			ended := make(chan error, 1)
			go func() {
				_, err := p.kubectl(t.Context(), "", append([]string{"wait", "--timeout=20s"}, words(args)...)...)
				ended <- err
			}()
			return ended
		}
		label := waiting("dr/" + host + " --for=jsonpath={.metadata.labels.ready}=yes")
		condition := waiting("dr/" + host + " --for=condition=Sunny")
		created := waiting("dr/b.watching.com --for=create")
		s.run(t, "", words("label dr "+host+" ready=yes"))
		s.run(t, "", words("patch dr "+host+` --subresource=status --type=json -p [{"op":"add","path":"/status/conditions/-","value":{"type":"Sunny","status":"True","reason":"Summer","message":"","lastTransitionTime":"2026-07-01T00:00:00Z"}}]`))
		s.run(t, yamlOf("b.watching.com", "default"), words("create -f -"))
		for what, ended := range map[string]chan error{"a label": label, "a condition": condition, "creation": created} {
			if err := <-ended; err != nil {
				t.Errorf("waiting for %s: %v", what, err)
			}
		}
		deleted := waiting("dr/b.watching.com --for=delete")
		s.run(t, "", words("delete dr b.watching.com --wait=false"), "deleted")
		if err := <-deleted; err != nil {
			t.Errorf("waiting for the deletion: %v", err)
		}
		s.fails(t, "", words("wait dr/"+host+" --for=condition=Rainy --timeout=1s"), "timed out waiting for the condition")
	})
}

// editor is a program that changes what it is given by a sed script.
func editor(t *testing.T, script string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "editor")
	if err := os.WriteFile(file, []byte("#!/bin/sh\nsed -i '"+script+"' \"$1\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return file
}
