package js

import (
	"context"
	"embed"
	"io/fs"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

//go:embed prelude/*.js
var preludeFiles embed.FS

// preludeName is the file's name in stack traces, where its lines are left out.
const preludeName = "apoxy:prelude"

// preludeSource is a script whose value is a function, which takes what the host does and
// returns what the host calls; with it the Web APIs are there.
func preludeSource() string {
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
}

// compilePrelude returns the prelude as bytecode.
func (e *engine) compilePrelude() ([]byte, error) {
	settings := edgefunction.Settings{Limits: edgefunction.Defaults}
	settings.Timeout = evaluationTime
	x := newExchange(context.Background(), &settings, places{})
	defer x.cancel()
	return e.compile(x.ctx, preludeSource(), preludeName, asScript, x)
}
