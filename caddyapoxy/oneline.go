package caddyapoxy

import (
	"bytes"
	"regexp"
	_ "unsafe" // for go:linkname

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// adapters are Caddy's configuration adapters, by name. Its own parser refuses a block
// that opens and closes in one line before any option of ours is asked, and an adapter's
// name can be registered once: so the table itself is reached for. In a Caddy that keeps
// it elsewhere this is nil, and such a block is refused as ever.
//
//go:linkname adapters github.com/caddyserver/caddy/v2/caddyconfig.configAdapters
var adapters map[string]caddyconfig.Adapter

func init() {
	if a, ok := adapters["caddyfile"]; ok {
		adapters["caddyfile"] = oneLineAdapter{a}
	}
}

// oneLineAdapter adapts Caddyfiles in which the block of a webhook or of a page may stand in
// one line: `webhook https://app.example.net/hooks { secret {env.HOOK_SECRET} }`,
// `apoxy_setup { url https://setup.example.net }`, `apoxy_dashboard { allow_writes }`.
type oneLineAdapter struct{ caddyconfig.Adapter }

// Adapt implements caddyconfig.Adapter.
func (a oneLineAdapter) Adapt(body []byte, options map[string]any) ([]byte, []caddyconfig.Warning, error) {
	return a.Adapter.Adapt(withoutOneLineBlocks(body), options)
}

// oneLineBlock is a line with such a block: what stands before the braces, between them
// and after them.
var oneLineBlock = regexp.MustCompile(`^(\s*(?:webhook\s+\S+|apoxy_setup|apoxy_dashboard)\s+)\{(\s.*?\s)\}(\s*|\s+#.*)$`)

// oneLineArguments are how many arguments stand before such a block, by what it is of.
var oneLineArguments = map[string]int{"webhook": 1, "apoxy_setup": 0, "apoxy_dashboard": 0}

// withoutOneLineBlocks takes the braces of such blocks away, for which blanks come: what
// is left are the options in the line of what they are of. Lines and columns stay what they are.
func withoutOneLineBlocks(body []byte) []byte {
	if !bytes.Contains(body, []byte("webhook")) && !bytes.Contains(body, []byte("apoxy_")) {
		return body
	}
	tokens, err := caddyfile.Tokenize(body, "")
	if err != nil {
		return body // Caddy says what is wrong
	}
	var lines [][]byte
	for i := range tokens {
		n := tokens[i].Line - 1
		if !opensOneLineBlock(tokens, i) {
			continue
		}
		if lines == nil {
			lines = bytes.Split(body, []byte("\n"))
		}
		if m := oneLineBlock.FindSubmatch(lines[n]); m != nil {
			lines[n] = bytes.Join([][]byte{m[1], m[2], m[3]}, []byte(" "))
		}
	}
	if lines == nil {
		return body
	}
	return bytes.Join(lines, []byte("\n"))
}

// opensOneLineBlock tells whether the i-th token begins such a line: it may as well be
// part of a text that goes over several.
func opensOneLineBlock(tokens []caddyfile.Token, i int) bool {
	line := tokens[i].Line
	arguments, ok := oneLineArguments[tokens[i].Text]
	last := i + 1 + arguments
	if !ok || i > 0 && tokens[i-1].Line == line || last >= len(tokens) || tokens[last].Text != "{" || tokens[last].Line != line {
		return false
	}
	for last+1 < len(tokens) && tokens[last+1].Line == line {
		last++
	}
	return tokens[last].Text == "}"
}
