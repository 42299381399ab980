package house

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write NOTICE and the list of licences anew")

const (
	licenseList = "docs/third-party-licenses.md"
	noticeFile  = "NOTICE"
)

// licenses are the licences that code in our binary may have, told by sentences
// that each of them has and no other.
var licenses = []struct {
	name string
	is   func(text string) bool
}{
	{"Apache-2.0", has("Apache License", "Version 2.0, January 2004")},
	{"Apache-2.0", has("Licensed under the Apache License, Version 2.0")},
	{"MIT", has("Permission is hereby granted, free of charge")},
	{"ISC", has("Permission to use, copy, modify, and")},
	{"BSD-3-Clause", has("Redistribution and use in source and binary forms", "endorse or promote products derived from")},
	{"BSD-2-Clause", func(text string) bool {
		return has("Redistribution and use in source and binary forms")(text) && !has("endorse or promote products derived from")(text)
	}},
	{"MPL-2.0", has("Mozilla Public License", "2.0")},
	{"CC0-1.0", has("CC0 1.0 Universal")},
	{"Unicode-3.0", has("UNICODE LICENSE V3")},
	{"Unlicense", has("free and unencumbered software released into the public domain")},
}

// barred are sentences of licences that would put conditions on the whole binary.
var barred = []string{"GNU GENERAL PUBLIC LICENSE", "GNU LESSER GENERAL PUBLIC LICENSE", "GNU AFFERO GENERAL PUBLIC LICENSE", "Server Side Public License", "Business Source License", "Commons Clause"}

func has(sentences ...string) func(text string) bool {
	return func(text string) bool {
		for _, s := range sentences {
			if !strings.Contains(text, s) {
				return false
			}
		}
		return true
	}
}

// embedded are what the binary holds of others beside modules, and where it lies in the
// tree with its licences.
var embedded = []struct{ name, dir string }{
	{"quickjs-wasi (npm), with QuickJS-NG", "edgefunction/js/quickjs"},
}

// thirdParty is a module that is linked into cmd/caddy.
type thirdParty struct {
	path     string
	licenses []string // by SPDX identifier
	notice   string   // empty: it has none to be carried along
}

var (
	licenseName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|unlicense)([.-].*)?$`)
	noticeName  = regexp.MustCompile(`(?i)^notice(\.\w+)?$`)
	space       = regexp.MustCompile(`\s+`)
)

// TestLicensesAreListedAndNoticesCarried holds docs/third-party-licenses.md and
// NOTICE against the modules that the binary is linked of, as it is built for
// Linux. With -update it writes both.
func TestLicensesAreListedAndNoticesCarried(t *testing.T) {
	modules := linked(t)
	for file, want := range map[string]string{licenseList: listOf(modules), noticeFile: noticeOf(modules)} {
		path := filepath.Join(root, file)
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != want {
			t.Errorf("%s is not that of the modules linked into cmd/caddy (%v): look at what was added, then run `go test ./internal/house -update`", file, err)
		}
	}
}

// linked are the modules of the packages that cmd/caddy is linked of, by path, and what
// is embedded.
func linked(t *testing.T) []thirdParty {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", "./cmd/caddy")
	cmd.Dir, cmd.Env = root, append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing the modules of cmd/caddy: %v\n%s", err, stderr.Bytes())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	var modules []thirdParty
	for _, line := range slices.Compact(lines) {
		path, dir, ok := strings.Cut(line, " ")
		if !ok {
			continue // of the standard library, whose packages are of no module
		}
		modules = append(modules, read(t, path, dir))
	}
	if len(modules) < 100 {
		t.Fatalf("only %d modules are linked into cmd/caddy", len(modules))
	}
	for _, e := range embedded {
		modules = append(modules, read(t, e.name, filepath.Join(root, e.dir)))
	}
	return modules
}

// read finds out under which licences a module lies.
func read(t *testing.T, path, dir string) thirdParty {
	t.Helper()
	m := thirdParty{path: path}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		isLicense, isNotice := licenseName.MatchString(e.Name()), noticeName.MatchString(e.Name())
		if e.IsDir() || !isLicense && !isNotice {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if isNotice {
			m.notice = strings.TrimSpace(strings.ReplaceAll(string(raw), "\r\n", "\n"))
			continue
		}
		text := space.ReplaceAllString(string(raw), " ")
		for _, b := range barred {
			if strings.Contains(text, b) {
				t.Errorf("%s has a licence with %q: the binary must not have it", path, b)
			}
		}
		for _, l := range licenses {
			if l.is(text) && !slices.Contains(m.licenses, l.name) {
				m.licenses = append(m.licenses, l.name)
			}
		}
	}
	if len(m.licenses) == 0 {
		t.Errorf("%s has no licence that is known here: read it, and add it to the licences in this test if it may be in the binary", path)
	}
	return m
}

func listOf(modules []thirdParty) string {
	var b strings.Builder
	b.WriteString(`# Licences of what the binary is linked of

Every module that is linked into ` + "`cmd/caddy`" + ` on Linux, besides Go's own standard
library (BSD-3-Clause), and what is embedded, with the licences that its licence files
hold. ` + "`go.mod`" + ` has the versions; ` + "`go list -m -f '{{.Dir}}' MODULE`" + ` is where the text of a licence lies.
` + "`NOTICE`" + ` carries the notices that some of them ask to be carried. Who hands out a
binary hands out the texts of the licences with it.

A test holds this list in place; ` + "`go test ./internal/house -update`" + ` writes it anew.

| module | licences |
|---|---|
`)
	for _, m := range modules {
		fmt.Fprintf(&b, "| %s | %s |\n", m.path, strings.Join(m.licenses, ", "))
	}
	return b.String()
}

func noticeOf(modules []thirdParty) string {
	var b strings.Builder
	b.WriteString(`Caddy Apoxy
Copyright the authors of github.com/apoxy-dev/caddy-apoxy

Licensed under the Apache License, Version 2.0; see LICENSE. Its dependencies lie
under licences of their own, which docs/third-party-licenses.md lists. The notices
of those that have one follow.
`)
	var texts []string
	of := map[string][]string{}
	for _, m := range modules {
		if m.notice == "" {
			continue
		}
		if of[m.notice] == nil {
			texts = append(texts, m.notice)
		}
		of[m.notice] = append(of[m.notice], m.path)
	}
	for _, text := range texts {
		fmt.Fprintf(&b, "\n%s\n%s\n\n%s\n", strings.Repeat("=", 72), strings.Join(of[text], ", "), text)
	}
	return b.String()
}
