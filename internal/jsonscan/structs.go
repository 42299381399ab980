package jsonscan

import (
	"reflect"
	"strings"
)

// structField is a field as JSON has it.
type structField struct {
	name   string
	index  []int
	decode decoder
	pass   passer // it is passed over, and not decoded
}

// structDecoder decodes an object of at most 64 fields. Objects have their members
// in the order of the fields, mostly, so each is looked for from the one before.
func structDecoder(t reflect.Type, around []reflect.Type, skip *skipped) decoder {
	fields, ok := fieldsOf(t, nil, around, skip)
	if !ok || len(fields) > 64 {
		return unusual
	}
	return func(s *decoding, v reflect.Value) {
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
			if fields[at].pass != nil {
				fields[at].pass(s)
				continue
			}
			f := v
			for _, i := range fields[at].index {
				f = f.Field(i)
			}
			fields[at].decode(s, f)
		}
	}
}

// following returns the index of the field of that name, looking at those after
// the last one first; -1: there is none.
func following(fields []structField, last int, name []byte) int {
	for i := last + 1; i < len(fields); i++ {
		if fields[i].name == string(name) {
			return i
		}
	}
	for i := range last + 1 {
		if fields[i].name == string(name) {
			return i
		}
	}
	return -1
}

// fieldsOf returns the fields of a struct, those of embedded structs included;
// false: it has something for which encoding/json has a rule of its own.
func fieldsOf(t reflect.Type, index []int, around []reflect.Type, skip *skipped) (fields []structField, ok bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		tag, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		at := append(index[:len(index):len(index)], i)
		switch {
		case tag == "-" && options == "", !f.Anonymous && !f.IsExported():
			continue
		case strings.Contains(options, "string"), f.Anonymous && f.Type.Kind() != reflect.Struct:
			return nil, false
		case f.Anonymous && tag == "":
			inner, ok := fieldsOf(f.Type, at, around, skip)
			if !ok {
				return nil, false
			}
			fields = append(fields, inner...)
			continue
		case tag == "":
			tag = f.Name
		}
		inside, passed := skip.at(tag)
		field := structField{name: tag, index: at}
		if passed {
			field.pass = passerOf(f.Type, around)
		} else {
			field.decode = decoderOf(f.Type, around, inside)
		}
		fields = append(fields, field)
	}
	names := map[string]bool{}
	for _, f := range fields {
		if names[f.name] {
			return nil, false
		}
		names[f.name] = true
	}
	return fields, true
}
