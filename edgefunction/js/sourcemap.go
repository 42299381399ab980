package js

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// bundleName is what QuickJS calls the user's module in stack traces.
const bundleName = "apoxy:function"

// places tells where what stands in the bundle stands in the user's files (ECMA-426).
// The zero value knows of none.
type places struct {
	files    []string
	segments [][]segment // by line of the bundle, in the order of their columns
}

// segment says that what is at a column of the bundle is at a place of a file.
type segment struct{ column, file, line, fileColumn int } // from 0

// readMap reads a source map. Its files are relative to dir.
func readMap(data []byte, dir string) (places, error) {
	var m struct {
		Sources  []string
		Mappings string
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return places{}, fmt.Errorf("reading the source map: %w", err)
	}
	p := places{}
	for _, f := range m.Sources {
		if !filepath.IsAbs(f) {
			f = filepath.Join(dir, filepath.FromSlash(f))
		}
		p.files = append(p.files, f)
	}
	var at [4]int // column, file, line, column there; all but the first go on over lines
	for line := range strings.SplitSeq(m.Mappings, ";") {
		at[0] = 0
		var segments []segment
		for text := range strings.SplitSeq(line, ",") {
			n := 0
			for ; text != "" && n < 5; n++ {
				var delta int
				if delta, text = vlq(text); n < 4 {
					at[n] += delta
				}
			}
			if n >= 4 && at[1] >= 0 && at[1] < len(p.files) {
				segments = append(segments, segment{at[0], at[1], at[2], at[3]})
			}
		}
		p.segments = append(p.segments, segments)
	}
	return p, nil
}

const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// vlq reads a number in base 64 of variable length, and returns what follows it.
func vlq(text string) (int, string) {
	n, shift := 0, 0
	for k := range len(text) {
		digit := strings.IndexByte(base64Digits, text[k])
		if digit < 0 || shift > 30 {
			return 0, ""
		}
		n |= digit & 31 << shift
		shift += 5
		if digit&32 == 0 {
			if n&1 != 0 {
				return -(n >> 1), text[k+1:]
			}
			return n >> 1, text[k+1:]
		}
	}
	return 0, ""
}

// at returns the place of a line and a column of the bundle, all from 1, with an empty
// file where it is not the user's.
func (p places) at(line, column int) (file string, fileLine, fileColumn int) {
	if line < 1 || line > len(p.segments) {
		return "", 0, 0
	}
	segments := p.segments[line-1]
	n := sort.Search(len(segments), func(n int) bool { return segments[n].column > column-1 })
	if n == 0 {
		return "", 0, 0
	}
	s := segments[n-1]
	return p.files[s.file], s.line + 1, s.fileColumn + 1
}

var (
	inBundle  = regexp.MustCompile(regexp.QuoteMeta(bundleName) + `:(\d+):(\d+)`)
	inPrelude = regexp.MustCompile(`(?m)^\s+at .*(?:` + regexp.QuoteMeta(preludeName) + `|\(native\)).*\n?`)
)

// name puts the user's places into a text with stack traces, and leaves out what is
// not the user's.
func (p places) name(text string) string {
	if !strings.Contains(text, "\n") && !strings.Contains(text, bundleName) {
		return text
	}
	text = inPrelude.ReplaceAllString(text, "")
	text = inBundle.ReplaceAllStringFunc(text, func(found string) string {
		of := inBundle.FindStringSubmatch(found)
		line, _ := strconv.Atoi(of[1])
		column, _ := strconv.Atoi(of[2])
		file, line, column := p.at(line, column)
		if file == "" {
			return found
		}
		return fmt.Sprintf("%s:%d:%d", file, line, column)
	})
	return strings.TrimRight(text, "\n")
}

// first returns the first place in a text that name has been through.
func (p places) first(text string) (file string, line, column int) {
	for _, of := range inFile.FindAllStringSubmatch(text, -1) {
		for _, f := range p.files {
			if of[1] == f {
				line, _ = strconv.Atoi(of[2])
				column, _ = strconv.Atoi(of[3])
				return f, line, column
			}
		}
	}
	return "", 0, 0
}

var inFile = regexp.MustCompile(`(?m)\bat (?:.*\()?(.+):(\d+):(\d+)\)?$`)

// after is a text to follow a sentence.
func after(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
