package jsonscan

import (
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Skimmer is a Decoder that passes over some members: it holds that they are what the
// type has there, as a Decoder would, but keeps nothing of them. It does not allocate
// for texts.
type Skimmer[T any] struct {
	decode decoder
	free   sync.Pool // of *decoding
}

// NewSkimmer returns a Skimmer that passes over the members at these paths of names
// with dots between; a path through a list is that of its elements.
func NewSkimmer[T any](over ...string) *Skimmer[T] {
	return &Skimmer[T]{
		decode: decoderOf(reflect.TypeFor[T](), nil, &skipped{paths: over}),
		free:   sync.Pool{New: func() any { return new(decoding) }},
	}
}

// Decode reads data into out; false: data is wrong or merely unusual. The texts in out
// are made of data's bytes and end with them. Of what out held before, the caller has
// taken everything away but memory to use again: lists of length 0 and maps with
// nothing in them.
func (d *Skimmer[T]) Decode(data []byte, out *T) bool {
	s := d.free.Get().(*decoding)
	*s = decoding{scanner: scanner{data: data}, borrowed: true}
	d.decode(s, reflect.ValueOf(out).Elem())
	s.peek()
	taken := !s.failed && s.at == len(data)
	*s = decoding{}
	d.free.Put(s)
	return taken
}

// skipped are the members that are passed over, of the object at a prefix.
type skipped struct {
	paths  []string
	prefix string
}

// at tells of the member of that name whether it is passed over, and if not which of
// its own are.
func (k *skipped) at(name string) (inside *skipped, passed bool) {
	if k == nil {
		return nil, false
	}
	path := k.prefix + name
	for _, over := range k.paths {
		if over == path {
			return nil, true
		}
		if strings.HasPrefix(over, path+".") {
			inside = &skipped{k.paths, path + "."}
		}
	}
	return inside, false
}

// passer passes a value that the decoder of the same type takes, and fails at every
// other.
type passer func(*decoding)

func passerOf(t reflect.Type, around []reflect.Type) passer {
	for _, outer := range around {
		if t == outer {
			return (*decoding).refuse
		}
	}
	around = append(around, t)
	switch {
	case t == reflect.TypeFor[metav1.Time]():
		return passTime
	case t == reflect.TypeFor[metav1.FieldsV1]():
		return func(s *decoding) { s.skip() }
	case t.Kind() == reflect.Pointer:
		element := passerOf(t.Elem(), around)
		return func(s *decoding) {
			if !s.null() {
				element(s)
			}
		}
	case reflect.PointerTo(t).Implements(unmarshaler):
		return func(s *decoding) {
			raw := s.skip()
			if s.failed || reflect.New(t).Interface().(json.Unmarshaler).UnmarshalJSON(raw) != nil {
				s.fail()
			}
		}
	}
	switch t.Kind() {
	case reflect.String:
		return passText
	case reflect.Bool:
		return passBool
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 {
			return slicePasser(t, around)
		}
	case reflect.Struct:
		return structPasser(t, around)
	}
	// What is rare is decoded and let go.
	decode := decoderOf(t, around[:len(around)-1], nil)
	return func(s *decoding) { decode(s, reflect.New(t).Elem()) }
}

func (s *decoding) refuse() { s.fail() }

func passText(s *decoding) {
	if s.peek() == 'n' && s.null() {
		return
	}
	s.text()
}

func passBool(s *decoding) {
	if !s.word("true") && !s.word("false") && !s.null() {
		s.fail()
	}
}

func passTime(s *decoding) {
	if s.peek() == 'n' && s.null() {
		return
	}
	inner, plain := s.text()
	if s.failed || usualTime(inner) {
		return
	}
	var t time.Time
	if !plain || t.UnmarshalText(inner) != nil {
		s.fail()
	}
}

// usualTime reports whether text is a time as records have it (RFC 3339, in UTC and whole
// seconds, on a day that every month has); of others it does not know.
func usualTime(text []byte) bool {
	const form = "0000-00-00T00:00:00Z"
	if len(text) != len(form) {
		return false
	}
	for i := range len(form) {
		if c := text[i]; form[i] == '0' && (c < '0' || c > '9') || form[i] != '0' && c != form[i] {
			return false
		}
	}
	two := func(at int) int { return int(text[at]-'0')*10 + int(text[at+1]-'0') }
	month, day := two(5), two(8)
	return 1 <= month && month <= 12 && 1 <= day && day <= 28 && two(11) < 24 && two(14) < 60 && two(17) < 60
}

func slicePasser(t reflect.Type, around []reflect.Type) passer {
	element := passerOf(t.Elem(), around)
	return func(s *decoding) {
		if s.null() {
			return
		}
		s.open('[')
		for n := 0; s.more(n, ']'); n++ {
			element(s)
		}
	}
}

func structPasser(t reflect.Type, around []reflect.Type) passer {
	fields, ok := fieldsOf(t, nil, around[:len(around):len(around)], nil)
	if !ok || len(fields) > 64 {
		return (*decoding).refuse
	}
	for i := range fields {
		fields[i].pass = passerOf(t.FieldByIndex(fields[i].index).Type, around)
	}
	return func(s *decoding) {
		if s.null() {
			return
		}
		s.open('{')
		var seen uint64
		at := -1
		for n := 0; s.more(n, '}'); n++ {
			at = following(fields, at, s.key())
			if at < 0 || seen&(1<<at) != 0 {
				s.fail()
				return
			}
			seen |= 1 << at
			fields[at].pass(s)
		}
	}
}
