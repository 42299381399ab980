package apiserver

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// withRevision returns a stored record's JSON with metadata.resourceVersion set
// to rev, without decoding it: lists and watches pass on many records that
// nobody needs to look into. The input must be valid JSON, as everything in the
// store is; what is not an object with an object at "metadata" is an error.
func withRevision(raw []byte, rev int64) ([]byte, error) {
	meta, err := findMember(raw, 0, "metadata")
	if err != nil {
		return nil, err
	}
	if meta.value < 0 || raw[meta.value] != '{' {
		return nil, fmt.Errorf("finding metadata in a stored record of %d bytes: there is none", len(raw))
	}
	rv, err := findMember(raw, meta.value, "resourceVersion")
	if err != nil {
		return nil, err
	}
	out := make([]byte, 0, len(raw)+len(`"resourceVersion":"9223372036854775807",`))
	if rv.value >= 0 {
		out = append(out, raw[:rv.value]...)
		out = appendQuotedInt(out, rev)
		return append(out, raw[rv.end:]...), nil
	}
	at := meta.value + 1
	out = append(out, raw[:at]...)
	out = append(out, `"resourceVersion":`...)
	out = appendQuotedInt(out, rev)
	if next := skipSpace(raw, at); next < len(raw) && raw[next] != '}' {
		out = append(out, ',')
	}
	return append(out, raw[at:]...), nil
}

func appendQuotedInt(b []byte, n int64) []byte {
	b = append(b, '"')
	b = strconv.AppendInt(b, n, 10)
	return append(b, '"')
}

// member is where a value of an object begins and ends; value -1: not there.
type member struct{ value, end int }

// findMember looks for a key among the members of the object that begins at i.
func findMember(raw []byte, i int, key string) (member, error) {
	none := member{value: -1}
	i = skipSpace(raw, i)
	if i >= len(raw) || raw[i] != '{' {
		return none, fmt.Errorf("reading a stored record: no object at offset %d", i)
	}
	i = skipSpace(raw, i+1)
	for i < len(raw) && raw[i] != '}' {
		start := i
		end, err := skipValue(raw, i)
		if err != nil {
			return none, err
		}
		found := string(raw[start:end]) == `"`+key+`"`
		i = skipSpace(raw, end)
		if i >= len(raw) || raw[i] != ':' {
			return none, errCut(i)
		}
		i = skipSpace(raw, i+1)
		if end, err = skipValue(raw, i); err != nil {
			return none, err
		}
		if found {
			return member{value: i, end: end}, nil
		}
		i = skipSpace(raw, end)
		if i < len(raw) && raw[i] == ',' {
			i = skipSpace(raw, i+1)
		}
	}
	if i >= len(raw) {
		return none, errCut(i)
	}
	return none, nil
}

// readMember decodes into v what stands at a path of object members; v stays as
// it is if nothing does.
func readMember(raw []byte, v any, path ...string) error {
	at := member{end: len(raw)}
	for _, key := range path {
		if at.value = skipSpace(raw, at.value); at.value >= len(raw) || raw[at.value] != '{' {
			return nil // null, or of another type
		}
		var err error
		if at, err = findMember(raw, at.value, key); err != nil {
			return err
		}
		if at.value < 0 {
			return nil
		}
	}
	if err := json.Unmarshal(raw[at.value:at.end], v); err != nil {
		return fmt.Errorf("reading %s of a stored record: %w", strings.Join(path, "."), err)
	}
	return nil
}

// skipValue returns the offset after the JSON value at i.
func skipValue(raw []byte, i int) (int, error) {
	depth := 0
	for i < len(raw) {
		switch raw[i] {
		case '"':
			end, err := skipString(raw, i)
			if err != nil {
				return 0, err
			}
			i = end
		case '{', '[':
			depth++
			i++
		case '}', ']':
			if depth == 0 {
				return 0, errCut(i)
			}
			depth--
			i++
		case ',', ':', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return 0, errCut(i)
			}
			i++
			continue
		default:
			for i < len(raw) && !isDelimiter(raw[i]) {
				i++
			}
		}
		if depth == 0 {
			return i, nil
		}
	}
	return 0, errCut(i)
}

func skipString(raw []byte, i int) (int, error) {
	for i++; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1, nil
		}
	}
	return 0, errCut(i)
}

func isDelimiter(b byte) bool {
	switch b {
	case ',', ':', '{', '}', '[', ']', '"', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

func errCut(i int) error {
	return fmt.Errorf("reading a stored record: it is no JSON object at offset %d", i)
}
