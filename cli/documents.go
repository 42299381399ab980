package cli

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"

	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// bom is the byte order mark in UTF-8, with which editors begin files.
var bom = []byte("\uFEFF")

// asUTF8 turns a file in UTF-8, which is not checked, or UTF-16 into UTF-8 without
// a byte order mark.
// YAML 1.2 section 5.2 says how the two are told apart; Windows' tools write
// UTF-16. UTF-32, which nothing writes, is refused.
func asUTF8(raw []byte) ([]byte, error) {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(raw, []byte{0, 0, 0xFE, 0xFF}), bytes.HasPrefix(raw, []byte{0xFF, 0xFE, 0, 0}):
		return nil, errors.New("it is in UTF-32: save it as UTF-8")
	case bytes.HasPrefix(raw, []byte{0xFE, 0xFF}), len(raw) > 1 && raw[0] == 0 && raw[1] != 0:
		order = binary.BigEndian
	case bytes.HasPrefix(raw, []byte{0xFF, 0xFE}), len(raw) > 1 && raw[0] != 0 && raw[1] == 0:
		order = binary.LittleEndian
	default:
		return bytes.TrimPrefix(raw, bom), nil
	}
	if len(raw)%2 != 0 {
		return nil, errors.New("it is in UTF-16 and ends within a character: it was cut off")
	}
	text := make([]byte, 0, len(raw)/2)
	for i := 0; i < len(raw); i += 2 {
		r := rune(order.Uint16(raw[i:]))
		if utf16.IsSurrogate(r) {
			var low rune
			if i += 2; i < len(raw) {
				low = rune(order.Uint16(raw[i:]))
			}
			if r = utf16.DecodeRune(r, low); r == utf8.RuneError {
				return nil, fmt.Errorf("it is in UTF-16, and line %d has half a character: save it as UTF-8", 1+bytes.Count(text, []byte("\n")))
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return bytes.TrimPrefix(text, bom), nil
}

// invalidLine is the line of the first byte that is no UTF-8.
func invalidLine(raw []byte) int {
	line := 1
	for len(raw) > 0 {
		r, n := utf8.DecodeRune(raw)
		if r == utf8.RuneError && n == 1 {
			return line
		}
		if r == '\n' {
			line++
		}
		raw = raw[n:]
	}
	return line
}

// document is one YAML document, or JSON value, of a file.
type document struct {
	text []byte
	// first is the line of the file that text begins on, line the one of its
	// first content; both count from 1.
	first, line int
}

// splitDocuments cuts YAML at its --- lines, and JSON behind each value.
func splitDocuments(raw []byte) []document {
	if utilyaml.IsJSONBuffer(raw) {
		if docs, rest, line := splitJSON(raw); len(docs) > 0 {
			return append(docs, splitYAML(rest, line)...)
		} // flow style YAML begins like JSON
	}
	return splitYAML(raw, 1)
}

// splitJSON takes JSON values off the front as long as they are well formed, and
// returns what is left with the line that it begins on. A value that is not, and
// ends before a line that begins another, is taken off, too, for the YAML parser
// to judge.
func splitJSON(raw []byte) (docs []document, rest []byte, line int) {
	line = 1
	for {
		dec := json.NewDecoder(bytes.NewReader(raw))
		for {
			var value json.RawMessage
			before := dec.InputOffset()
			err := dec.Decode(&value)
			if errors.Is(err, io.EOF) {
				return docs, nil, line
			}
			if err != nil {
				raw = raw[before:]
				break
			}
			chunk := raw[before:dec.InputOffset()]
			docs = append(docs, newDocument(chunk, line))
			line += bytes.Count(chunk, []byte("\n"))
		}
		next := nextObject(raw)
		if next < 0 || hasSeparator(raw[:next]) {
			return docs, raw, line
		}
		if len(docs) == 0 {
			if _, err := yaml.YAMLToJSON(raw); err == nil {
				return nil, raw, line
			}
		}
		docs = append(docs, newDocument(raw[:next], line))
		line += bytes.Count(raw[:next], []byte("\n"))
		raw = raw[next:]
	}
}

// nextObject is where, behind the first content, a line begins with a brace; -1
// where none does.
func nextObject(raw []byte) int {
	blank := len(raw) - len(bytes.TrimLeft(raw, " \t\r\n"))
	if i := bytes.Index(raw[blank:], []byte("\n{")); i >= 0 {
		return blank + i + 1
	}
	return -1
}

func hasSeparator(text []byte) bool {
	for line := range bytes.Lines(text) {
		if isSeparator(line) {
			return true
		}
	}
	return false
}

// isSeparator reports whether a line begins a document (YAML 1.2 section 9.1.2).
func isSeparator(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t' || rest[0] == '\r' || rest[0] == '\n')
}

// splitYAML cuts before each line that begins a document. Files that were written
// one behind the other may each bring a byte order mark.
func splitYAML(raw []byte, line int) []document {
	var docs []document
	begin, first, at := 0, line, 0
	add := func(end int) {
		if text := bytes.TrimPrefix(raw[begin:end], bom); len(bytes.TrimSpace(text)) > 0 {
			docs = append(docs, newDocument(text, first))
		}
		begin, first = end, line
	}
	for l := range bytes.Lines(raw) {
		if isSeparator(bytes.TrimPrefix(l, bom)) {
			add(at)
		}
		at += len(l)
		line++
	}
	add(len(raw))
	return docs
}

// newDocument finds the line of the first content, behind blank lines, comments
// and the mark of the document.
func newDocument(text []byte, first int) document {
	d := document{text: text, first: first, line: first}
	line := first
	for l := range bytes.Lines(text) {
		if isSeparator(l) {
			l = l[len("---"):]
		}
		if l = bytes.TrimSpace(l); len(l) > 0 && l[0] != '#' {
			d.line = line
			break
		}
		line++
	}
	return d
}
