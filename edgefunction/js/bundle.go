package js

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

const (
	// maxImports bounds the files that one function imports, and maxImported their
	// size together, in bytes.
	maxImports  = 2000
	maxImported = 32 << 20
	// maxErrors is how many errors of one file are told.
	maxErrors = 10
)

// bundle is a function and all that it imports as one module.
type bundle struct {
	code   string
	places places
	files  []string // that it imports
}

var loaders = map[string]api.Loader{
	".js": api.LoaderJS, ".mjs": api.LoaderJS, ".jsx": api.LoaderJSX,
	".ts": api.LoaderTS, ".mts": api.LoaderTS, ".tsx": api.LoaderTSX,
}

// build makes a bundle of a file's source. It imports files below dir, the file's own
// directory. Its error is a *edgefunction.SourceError, or several joined.
func build(file string, source []byte) (*bundle, error) {
	loader, ok := loaders[strings.ToLower(filepath.Ext(file))]
	if !ok {
		return nil, &edgefunction.SourceError{File: file, Message: "expected a file that ends in .js, .mjs, .jsx, .ts, .mts or .tsx"}
	}
	path, err := filepath.Abs(file)
	if err != nil {
		return nil, err
	}
	dir := filepath.Dir(path)
	guard := &guard{dir: realPath(dir)}
	result := api.Build(api.BuildOptions{
		Stdin:         &api.StdinOptions{Contents: string(source), ResolveDir: dir, Sourcefile: path, Loader: loader},
		AbsWorkingDir: dir,
		Outfile:       filepath.Join(dir, "function.js"), // never written
		Bundle:        true, Format: api.FormatESModule, Target: api.ES2023, Platform: api.PlatformNeutral,
		MainFields: []string{"module", "main"}, Conditions: []string{"workerd", "worker", "import", "default"},
		Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude,
		KeepNames: false, LegalComments: api.LegalCommentsNone, Charset: api.CharsetUTF8,
		LogLevel: api.LogLevelSilent, LogLimit: maxErrors,
		Plugins: []api.Plugin{{Name: "imports", Setup: guard.setup}},
	})
	if len(result.Errors) > 0 {
		return nil, sourceErrors(file, dir, result.Errors)
	}
	b := &bundle{files: guard.files}
	slices.Sort(b.files)
	for _, out := range result.OutputFiles {
		if !strings.HasSuffix(out.Path, ".map") {
			b.code = string(out.Contents)
		} else if b.places, err = readMap(out.Contents, dir); err != nil {
			return nil, err
		}
	}
	for n, f := range b.places.files {
		if f == path {
			b.places.files[n] = file // as the configuration names it
		}
	}
	return b, nil
}

func sourceErrors(file, dir string, messages []api.Message) error {
	var all []error
	for _, m := range messages {
		e := &edgefunction.SourceError{File: file, Message: m.Text}
		if l := m.Location; l != nil {
			e.Line, e.Column = l.Line, l.Column+1
			if at := filepath.Join(dir, filepath.FromSlash(l.File)); !filepath.IsAbs(l.File) && filepath.Base(at) != filepath.Base(file) {
				e.File = at
			}
		}
		all = append(all, e)
	}
	return errors.Join(all...)
}

// guard lets a function import files below its own directory and nothing else.
type guard struct {
	dir   string
	files []string
	size  int64
	check chan struct{}
}

func (g *guard) setup(b api.PluginBuild) {
	g.check = make(chan struct{}, 1) // esbuild loads files on several goroutines
	b.OnResolve(api.OnResolveOptions{Filter: `^(node:|bun:|cloudflare:|jsr:|npm:|data:|https?:|//)`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
		return api.OnResolveResult{}, fmt.Errorf("import %q: expected a relative path, or a package below node_modules beside the function: nothing is downloaded, and there are no modules of another runtime", a.Path)
	})
	b.OnLoad(api.OnLoadOptions{Filter: `.*`, Namespace: "file"}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
		g.check <- struct{}{}
		defer func() { <-g.check }()
		return api.OnLoadResult{}, g.allow(a.Path)
	})
}

// allow says whether a file may be imported, and notes it.
func (g *guard) allow(path string) error {
	real := realPath(path)
	if rel, err := filepath.Rel(g.dir, real); err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return fmt.Errorf("import of %s: it lies outside of %s, the function's directory: move it there", real, g.dir)
	}
	info, err := os.Stat(real)
	if err != nil {
		return err
	}
	g.size += info.Size()
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("import of %s: expected a regular file", real)
	case g.size > maxImported || len(g.files) == maxImports:
		return fmt.Errorf("import of %s: expected at most %d files of %d MiB together", real, maxImports, maxImported>>20)
	}
	g.files = append(g.files, path)
	return nil
}

// realPath is a path without symbolic links, where it can be told.
func realPath(path string) string {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real
	}
	return path
}
