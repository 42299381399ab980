package apiserver

import (
	"fmt"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bounds of every body and of every record that a patch makes. A record as
// people write it has some dozens of values, four levels and names of a hundred
// bytes; what decodes, merges and validates it is linear up to here and no
// further.
const (
	// maxDepth is how many objects and arrays may stand inside one another.
	maxDepth = 64
	// maxMembers is how many members one object or array may have.
	maxMembers = 4096
	// maxValues is how many values, objects and arrays included, there may be.
	maxValues = 20_000
	// maxPatchedValues is maxValues for what a patch makes, managed fields that
	// the server added included.
	maxPatchedValues = 2 * maxValues
	// maxKey is the length of an object's key, in bytes as sent. The longest
	// that mean something are paths in managed fields.
	maxKey = 8192
	// maxNumber is the length of a number, in bytes.
	maxNumber = 128
)

// bounds are what weigh holds a JSON text to.
type bounds struct {
	// content is the most bytes without the white space between values.
	content int
	// values is the most values, members the most members of the outermost one.
	values, members int
	// within is how many levels stand around the text already.
	within int
	// inPatch: what stands inside is named with the patch's own members, so
	// that it is no field of a record, and gets 413.
	inPatch bool
}

// objectBounds are those of a record or of options.
func (s *Server) objectBounds() bounds {
	return bounds{content: s.cfg.Limits.Record, values: maxValues, members: maxMembers}
}

// patchBounds are those of a JSON patch: five values an operation.
func (s *Server) patchBounds() bounds {
	return bounds{content: s.cfg.Limits.Record, values: 6 * maxPatchOperations, members: maxPatchOperations, inPatch: true}
}

// frame is an object or array that weigh stands in.
type frame struct {
	object bool
	// key is the latest key as sent, with its quotes; members counts those begun.
	key     []byte
	members int
}

// scale is the state of one weighing.
type scale struct {
	data  []byte
	b     bounds
	stack [maxDepth]frame
	depth int
	// content and values are what was counted so far.
	content, values int
	// key: the next text is a key.
	key bool
}

// weigh passes over a JSON text once, without recursion or allocation, and
// returns an error as soon as it is deeper, wider or longer than is decoded
// here: 400 for its depth, keys and numbers, 422 with the field named for an
// object or array of too many members, 413 for too much in all. What is no JSON
// is not judged: decoding does that.
func weigh(data []byte, b bounds) error {
	s := scale{data: data, b: b}
	for i := 0; i < len(data); {
		n, err := s.next(i)
		if err != nil {
			return err
		}
		if i += n; s.content > b.content {
			return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the body has more than %d bytes beside white space", b.content))
		}
	}
	return nil
}

// next takes the token at i and returns its length.
func (s *scale) next(i int) (n int, err error) {
	switch c := s.data[i]; c {
	case ' ', '\t', '\r', '\n':
		return 1, nil
	case '{', '[':
		if err := s.value(); err != nil {
			return 0, err
		}
		if s.depth == maxDepth-s.b.within {
			return 0, apierrors.NewBadRequest(fmt.Sprintf("the body is nested deeper than %d levels, at %s", maxDepth, s.path()))
		}
		s.stack[s.depth] = frame{object: c == '{'}
		s.depth++
		s.key = c == '{'
		n = 1
	case '}', ']':
		s.depth = max(s.depth-1, 0)
		s.key = false
		n = 1
	case ',':
		s.key = s.depth > 0 && s.stack[s.depth-1].object
		n = 1
	case ':':
		s.key = false
		n = 1
	case '"':
		n = textLength(s.data[i:])
		err = s.text(s.data[i : i+n])
	default:
		n = scalarLength(s.data[i:])
		if n > maxNumber {
			return 0, apierrors.NewBadRequest(fmt.Sprintf("the body has a number of %d digits or more, at %s: give one of at most %d", maxNumber, s.path(), maxNumber))
		}
		err = s.value()
	}
	s.content += n
	return n, err
}

// text takes a key or a value.
func (s *scale) text(quoted []byte) error {
	if !s.key {
		return s.value()
	}
	if len(quoted) > maxKey {
		return apierrors.NewBadRequest(fmt.Sprintf("the body has a key of %d bytes, at %s: a key has at most %d", len(quoted)-2, s.path(), maxKey))
	}
	s.stack[s.depth-1].key = quoted
	return nil
}

// value counts one value.
func (s *scale) value() error {
	if s.values++; s.values > s.b.values {
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the body has more than %d values", s.b.values))
	}
	if s.depth == 0 {
		return nil
	}
	most := maxMembers
	if s.depth == 1 {
		most = s.b.members
	}
	f := &s.stack[s.depth-1]
	if f.members++; f.members <= most {
		return nil
	}
	s.depth-- // what is named is the object or array, not its member
	p := s.fieldPath()
	if p == nil || s.b.inPatch {
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the body has more than %d members at %s", most, s.path()))
	}
	return invalid("", field.ErrorList{field.TooMany(p, f.members, most)})
}

// path says where the weighing stands, for a person.
func (s *scale) path() string {
	if p := s.fieldPath(); p != nil {
		return cut(p.String())
	}
	return "its top"
}

// fieldPath is the field that the weighing stands at, nil at the top; of a deep
// one it is the upper end.
func (s *scale) fieldPath() *field.Path {
	const shown = 8
	var p *field.Path
	for _, f := range s.stack[:min(s.depth, shown)] {
		switch at := max(f.members-1, 0); {
		case f.object && f.key == nil: // before its first key
		case f.object && p == nil:
			p = field.NewPath(keyText(f.key))
		case f.object:
			p = p.Child(keyText(f.key))
		case p == nil:
			p = field.NewPath("[" + strconv.Itoa(at) + "]")
		default:
			p = p.Index(at)
		}
	}
	return p
}

// keyText is a key as sent without its quotes, short.
func keyText(quoted []byte) string {
	return cut(strings.Trim(string(quoted[:min(len(quoted), 256)]), `"`))
}

// textLength is the length of the JSON text that data begins with, its quotes
// included; of one without an end that of data.
func textLength(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

// scalarLength is the length of the number or word that data begins with.
func scalarLength(data []byte) int {
	for i := 1; i < len(data); i++ {
		switch data[i] {
		case ' ', '\t', '\r', '\n', '{', '[', '}', ']', ',', ':', '"':
			return i
		}
	}
	return len(data)
}

// cut bounds foreign text that a message repeats.
func cut(s string) string { return cutTo(s, 128) }

func cutTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
