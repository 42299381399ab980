package caddyapoxy

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// "Add a target in five steps" is done for every kind: what is forgotten is named here.
func TestEveryKindOfTargetHasAllFiveSteps(t *testing.T) {
	for _, kind := range v1alpha3.TargetKinds() {
		for _, lack := range lackedBy(t, kind) {
			t.Errorf("%s: %s", kind, lack)
		}
	}
}

// lackedBy are the steps that a kind lacks.
func lackedBy(t *testing.T, kind string) (lacks []string) {
	word := strings.ToLower(kind)
	lack := func(step int, format string, args ...any) {
		lacks = append(lacks, fmt.Sprintf("step %d: %s", step, fmt.Sprintf(format, args...)))
	}
	if !fileHas(t, "../target/*.go", ") Serve(", "type "+kind+" struct") {
		lack(1, "target/%s.go has no type %s with Serve", word, kind)
	}
	field := slices.ContainsFunc(reflect.VisibleFields(reflect.TypeFor[Handler]()), func(f reflect.StructField) bool {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		return name == word+"s" || name == strings.TrimSuffix(word, "y")+"ies"
	})
	if !field {
		lack(2, "Handler has no field whose JSON is %q or its plural", word)
	}
	if !fileHas(t, "testdata/adapt/[^b]*.caddyfiletest", "\t\t"+word+" ", `"handler": "apoxy"`) {
		lack(3, "no golden file of testdata/adapt has `%s NAME`", word)
	}
	if !slices.Contains(enumOfKinds(t), kind) {
		lack(4, "the schema of target.ref.kind does not name it")
	}
	if !fileHas(t, "../examples/*Caddyfile", "\t\t"+word+" ") {
		lack(5, "no example has `%s NAME`", word)
	}
	for _, doc := range []string{"../docs/targets.md", "../README.md"} {
		if !fileHas(t, doc, "\n| "+kind+" |") && !fileHas(t, doc, "\n| ["+kind+"](") {
			lack(5, "%s has no row of it", doc)
		}
	}
	if !fileHas(t, "../e2e/*_test.go", `"`+kind+`"`) {
		lack(5, "no scenario of e2e has it")
	}
	return lacks
}

// fileHas reports whether one of the files holds all the words.
func fileHas(t *testing.T, pattern string, words ...string) bool {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("finding %s: %v, %d found", pattern, err, len(files))
	}
	return slices.ContainsFunc(files, func(file string) bool {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return !slices.ContainsFunc(words, func(w string) bool { return !bytes.Contains(content, []byte(w)) })
	})
}

// enumOfKinds are the kinds that the API's types offer.
func enumOfKinds(t *testing.T) []string {
	t.Helper()
	content, err := os.ReadFile("../api/v1alpha3/types.go")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(content), "// +kubebuilder:validation:Enum=Gateway;")
	if !ok {
		t.Fatal("types.go has no enumeration of the kinds")
	}
	line, _, _ := strings.Cut(rest, "\n")
	return append(strings.Split(line, ";"), "Gateway")
}
