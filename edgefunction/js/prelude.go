package js

import (
	"embed"
	"io/fs"
	"strings"
	"sync"
)

//go:embed prelude/*.js
var preludeFiles embed.FS

// preludeName is the file's name in stack traces, where its lines are left out.
const preludeName = "apoxy:prelude"

// prelude is the source of a function that takes what the host does and returns what
// the host calls; with it the Web APIs are there.
var prelude = sync.OnceValue(func() string {
	files, err := fs.Glob(preludeFiles, "prelude/*.js")
	if err != nil {
		panic(err) // the pattern is ours
	}
	var b strings.Builder
	b.WriteString("(function (host, mostBody) {\n'use strict';\n")
	for _, name := range files { // in the order of their names
		source, err := preludeFiles.ReadFile(name)
		if err != nil {
			panic(err) // it was embedded
		}
		b.Write(source)
	}
	b.WriteString("\nreturn { load, setEnv, serve, tick, settle, describe, forgetRandom };\n})")
	return b.String()
})
