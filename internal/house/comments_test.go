package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A comment on an identifier begins with exactly that identifier, so that a search
// finds it and a renaming that leaves it behind is noticed. Tests say what they
// hold in a sentence of their own.
func TestCommentsBeginWithTheirIdentifier(t *testing.T) {
	files := token.NewFileSet()
	checked := 0
	check := func(path string, name *ast.Ident, doc *ast.CommentGroup) {
		if doc == nil || name.Name == "_" || strings.HasPrefix(name.Name, "Test") && strings.HasSuffix(path, "_test.go") {
			return
		}
		words := strings.Fields(doc.Text())
		if len(words) == 0 { // a directive alone
			return
		}
		checked++
		if first := strings.TrimRight(words[0], ",:;."); first != name.Name && strings.TrimSuffix(first, "'s") != name.Name {
			t.Errorf("%s: the comment on %s begins with %q", files.Position(doc.Pos()), name.Name, words[0])
		}
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") {
			return err
		}
		f, err := parser.ParseFile(files, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				check(path, d.Name, d.Doc)
			case *ast.GenDecl:
				if len(d.Specs) != 1 || d.Lparen.IsValid() {
					continue // a comment on a group is on all of it
				}
				switch s := d.Specs[0].(type) {
				case *ast.TypeSpec:
					check(path, s.Name, d.Doc)
				case *ast.ValueSpec:
					check(path, s.Names[0], d.Doc)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked < 1000 {
		t.Errorf("only %d comments were found", checked)
	}
}

// goFile is a file's name in a package comment.
var goFile = regexp.MustCompile(`\b[a-z0-9_*]+\.go\b`)

// The maps in package comments name files that are there.
func TestMapsNameFilesThatAreThere(t *testing.T) {
	for _, f := range goFiles(t) {
		if filepath.Base(f) != "doc.go" {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range goFile.FindAllString(string(raw), -1) {
			if there, err := filepath.Glob(filepath.Join(root, filepath.Dir(f), name)); err != nil || len(there) == 0 {
				t.Errorf("%s: its map names %s, which is not there", f, name)
			}
		}
	}
}
