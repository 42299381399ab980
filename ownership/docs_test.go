package ownership

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// constants reads the string constants of a file whose names begin with prefix.
func constants(t *testing.T, file, prefix string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			if !strings.HasPrefix(name.Name, prefix) || i >= len(spec.Values) {
				continue
			}
			if lit, ok := spec.Values[i].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				s, err := strconv.Unquote(lit.Value)
				if err != nil {
					t.Fatal(err)
				}
				out = append(out, s)
			}
		}
		return true
	})
	if len(out) == 0 {
		t.Fatalf("no constants named %s… in %s", prefix, file)
	}
	return out
}

func TestDocsListEveryReason(t *testing.T) {
	const conditions = "../api/v1alpha3/conditions.go"
	for page, want := range map[string][]string{
		"../docs/conditions.md":      slices.Concat(constants(t, conditions, "Condition"), constants(t, conditions, "Reason")),
		"../docs/troubleshooting.md": slices.Concat(constants(t, conditions, "Reason"), constants(t, "problems.go", "Problem")),
	} {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range want {
			if !strings.Contains(string(text), "`"+c+"`") && !strings.Contains(string(text), "# "+c) && !strings.Contains(string(text), "and "+c) {
				t.Errorf("%s does not explain %s", page, c)
			}
		}
	}
}
