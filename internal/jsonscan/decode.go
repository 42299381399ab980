package jsonscan

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"time"
	"unsafe"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Decoder decodes JSON texts into values of type T, in one pass. What it decodes
// is what encoding/json decodes, but it takes only the usual form: texts with
// keys that are unknown, differ in case, repeat or have escapes and with wrong
// values it leaves to encoding/json and its errors. It is safe for concurrent use.
type Decoder[T any] struct {
	decode decoder
	common map[string]string
}

// NewDecoder returns a Decoder. Texts of common are not allocated anew wherever
// they stand.
func NewDecoder[T any](common ...string) *Decoder[T] { return NewDecoderOver[T](nil, common...) }

// NewDecoderOver is NewDecoder of a Decoder that passes over the members at some paths,
// as a Skimmer does.
func NewDecoderOver[T any](over []string, common ...string) *Decoder[T] {
	d := &Decoder[T]{decoderOf(reflect.TypeFor[T](), nil, &skipped{paths: over}), make(map[string]string, len(common))}
	for _, text := range common {
		d.common[text] = text
	}
	return d
}

// Decode returns the value that data holds, which shares no memory with it; false:
// data is wrong or merely unusual, and encoding/json has to say which.
func (d *Decoder[T]) Decode(data []byte) (*T, bool) {
	out := new(T)
	s := decoding{scanner: scanner{data: data}, common: d.common}
	d.decode(&s, reflect.ValueOf(out).Elem())
	if s.peek(); s.failed || s.at != len(data) {
		return nil, false
	}
	return out, true
}

// decoding is a scanner with what one Decode knows beside the text.
type decoding struct {
	scanner
	common   map[string]string
	borrowed bool // texts are made of the bytes of data
}

// decoder reads the value that comes next into v, which is zero, or for a Skimmer has
// nothing but memory to use again.
type decoder func(s *decoding, v reflect.Value)

// unusual is the decoder of what is left to encoding/json.
func unusual(s *decoding, _ reflect.Value) { s.fail() }

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// decoderOf returns the decoder of a type; the types around it are known, and one
// that holds itself is not usual.
func decoderOf(t reflect.Type, around []reflect.Type, skip *skipped) decoder {
	for _, outer := range around {
		if t == outer {
			return unusual
		}
	}
	around = append(around, t)
	switch p := reflect.PointerTo(t); {
	case t == reflect.TypeFor[metav1.Time]():
		return decodeTime
	case t.Kind() == reflect.Pointer:
		return pointerDecoder(t, around, skip)
	case p.Implements(unmarshaler):
		return decodeByItself
	case p.Implements(textUnmarshaler):
		return unusual
	}
	switch t.Kind() {
	case reflect.String:
		return decodeText
	case reflect.Bool:
		return decodeBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return decodeInt
	case reflect.Slice:
		if t.Elem().Kind() != reflect.Uint8 { // encoding/json has bytes in base64
			return sliceDecoder(t, around, skip)
		}
	case reflect.Map:
		if t == reflect.TypeFor[map[string]string]() {
			return decodeTexts
		}
	case reflect.Struct:
		return structDecoder(t, around, skip)
	}
	return unusual
}

func decodeText(s *decoding, v reflect.Value) { v.SetString(s.string()) }

// string returns a text; null is the empty one.
func (s *decoding) string() string {
	if s.null() {
		return ""
	}
	inner, plain := s.text()
	switch {
	case s.failed:
		return ""
	case plain && s.borrowed:
		return unsafe.String(unsafe.SliceData(inner), len(inner))
	case plain:
		if known, ok := s.common[string(inner)]; ok {
			return known
		}
		return string(inner)
	}
	var out string
	if json.Unmarshal(s.data[s.at-len(inner)-2:s.at], &out) != nil {
		s.fail()
	}
	return out
}

func decodeBool(s *decoding, v reflect.Value) {
	switch {
	case s.word("true"):
		v.SetBool(true)
	case s.word("false"), s.null():
	default:
		s.fail()
	}
}

func decodeInt(s *decoding, v reflect.Value) {
	if s.null() {
		return
	}
	n, err := strconv.ParseInt(string(s.number()), 10, v.Type().Bits())
	if err != nil {
		s.fail()
		return
	}
	v.SetInt(n)
}

// decodeTime does what metav1.Time's UnmarshalJSON does. That one starts
// encoding/json anew for each time, and a record has a dozen.
func decodeTime(s *decoding, v reflect.Value) {
	if s.null() {
		return
	}
	inner, plain := s.text()
	var t time.Time
	if !plain || t.UnmarshalText(inner) != nil {
		s.fail()
		return
	}
	v.Addr().Interface().(*metav1.Time).Time = t.Local()
}

func decodeByItself(s *decoding, v reflect.Value) {
	raw := s.skip()
	if s.failed || v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw) != nil {
		s.fail()
	}
}

func pointerDecoder(t reflect.Type, around []reflect.Type, skip *skipped) decoder {
	element := decoderOf(t.Elem(), around, skip)
	return func(s *decoding, v reflect.Value) {
		if s.null() {
			return
		}
		p := reflect.New(t.Elem())
		element(s, p.Elem())
		v.Set(p)
	}
}

func sliceDecoder(t reflect.Type, around []reflect.Type, skip *skipped) decoder {
	element, first := decoderOf(t.Elem(), around, skip), 1
	if t.Elem().Kind() == reflect.Struct {
		first = 3 // a record has hardly fewer DNS records and twice as many conditions
	}
	return func(s *decoding, v reflect.Value) {
		if s.null() {
			return
		}
		s.open('[')
		n := 0
		for ; s.more(n, ']'); n++ {
			if n == 0 {
				v.Grow(first)
			} else {
				v.Grow(1)
			}
			v.SetLen(n + 1)
			if s.borrowed {
				v.Index(n).SetZero()
			}
			element(s, v.Index(n))
		}
		if n == 0 && v.IsNil() {
			v.Set(reflect.MakeSlice(t, 0, 0))
		}
	}
}

func decodeTexts(s *decoding, v reflect.Value) {
	if s.null() {
		return
	}
	out, _ := v.Interface().(map[string]string)
	if out == nil {
		out = map[string]string{}
		v.Set(reflect.ValueOf(out))
	}
	s.open('{')
	for n := 0; s.more(n, '}'); n++ {
		key, value := s.memberName(), s.string()
		out[key] = value
	}
}

// memberName passes an object's key, of any text, and the colon after it.
func (s *decoding) memberName() string {
	if s.peek() != '"' { // null is a text's, not a key's
		s.fail()
	}
	key := s.string()
	s.expect(':')
	return key
}
