package wasmloops

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"
)

// Section numbers of WebAssembly core 2.0, section 5.5.2.
const (
	sectionCustom    = 0
	sectionType      = 1
	sectionImport    = 2
	sectionFunction  = 3
	sectionTable     = 4
	sectionMemory    = 5
	sectionGlobal    = 6
	sectionExport    = 7
	sectionStart     = 8
	sectionElement   = 9
	sectionCode      = 10
	sectionData      = 11
	sectionDataCount = 12
)

// order is the one in which sections stand.
var order = []byte{
	sectionType, sectionImport, sectionFunction, sectionTable, sectionMemory, sectionGlobal,
	sectionExport, sectionStart, sectionElement, sectionDataCount, sectionCode, sectionData,
}

var header = []byte("\x00asm\x01\x00\x00\x00")

// nameSection is the custom section that names functions.
const nameSection = "name"

// parsed is a module as its sections' contents; an absent one is nil.
type parsed struct {
	sections [sectionDataCount + 1][]byte
	names    []byte
}

// Instrument returns the module with counters in its loops, which call Poll of Module.
// What the module imports, exports and does stays the same, but that its tables do not
// grow beyond 65,536 entries, and that of custom sections only the names of functions
// are left (positions in debug information would no longer be true). A binary that is
// malformed or is not of WebAssembly core 2.0 is an error; one that is invalid in
// another way may come out as invalid. Wasm is neither changed nor kept.
func Instrument(wasm []byte) ([]byte, error) {
	m, err := parse(wasm)
	if err != nil {
		return nil, err
	}
	if err := m.instrument(); err != nil {
		return nil, err
	}
	out := append(make([]byte, 0, len(wasm)+len(wasm)/4), header...)
	for _, id := range order {
		if content := m.sections[id]; content != nil {
			out = append(appendU32(append(out, id), uint32(len(content))), content...)
		}
	}
	if len(m.names) > 0 {
		content := append(appendName(nil, nameSection), m.names...)
		out = append(appendU32(append(out, sectionCustom), uint32(len(content))), content...)
	}
	return out, nil
}

func parse(wasm []byte) (*parsed, error) {
	if !bytes.HasPrefix(wasm, header) {
		return nil, errors.New("this is no WebAssembly module of version 1: it does not begin with \\0asm and that version")
	}
	m := &parsed{}
	r := &reader{data: wasm, at: len(header)}
	last := -1
	for r.left() > 0 {
		id := r.byte()
		content := r.take(r.count())
		if r.err != nil {
			break
		}
		if id == sectionCustom {
			if err := m.custom(content); err != nil {
				return nil, err
			}
			continue
		}
		place := bytes.IndexByte(order, id)
		switch {
		case place < 0:
			return nil, fmt.Errorf("section %d is not of WebAssembly core 2.0", id)
		case place <= last:
			return nil, fmt.Errorf("section %d is out of order", id)
		}
		last = place
		m.sections[id] = content
	}
	return m, r.ended("module")
}

func (m *parsed) custom(content []byte) error {
	r := &reader{data: content}
	name := r.name()
	switch {
	case r.err != nil || !utf8.Valid(name):
		return errors.New("a custom section has no name")
	case string(name) == nameSection && m.names == nil:
		m.names = content[r.at:]
	}
	return nil
}

// instrument rewrites all sections.
func (m *parsed) instrument() error {
	w, err := m.number()
	if err != nil {
		return err
	}
	s := &m.sections
	for _, part := range []struct {
		id      byte
		rewrite func([]byte) ([]byte, error)
	}{
		{sectionTable, tables},
		{sectionGlobal, w.globals},
		{sectionExport, w.exports},
		{sectionStart, w.start},
		{sectionElement, w.elements},
		{sectionCode, w.code},
	} {
		if s[part.id] == nil && part.id != sectionGlobal && part.id != sectionCode {
			continue
		}
		if s[part.id], err = part.rewrite(orNone(s[part.id])); err != nil {
			return err
		}
	}
	if s[sectionData] != nil {
		if err := w.data(s[sectionData]); err != nil {
			return err
		}
	}
	m.names = w.names(m.names)
	return nil
}

// number adds Poll and the function that calls it, and returns how functions and
// globals are numbered then.
func (m *parsed) number() (*rewriter, error) {
	s := &m.sections
	typesBefore, err := types(orNone(s[sectionType]))
	if err != nil {
		return nil, err
	}
	functions, globals, all, err := imports(orNone(s[sectionImport]), typesBefore)
	if err != nil {
		return nil, err
	}
	defined, err := functionSection(orNone(s[sectionFunction]), typesBefore)
	if err != nil {
		return nil, err
	}
	globalsBefore := 0
	if s[sectionGlobal] != nil {
		globalsBefore = (&reader{data: s[sectionGlobal]}).count()
	}
	poll := appendName(appendName(nil, Module), Poll)
	poll = appendU32(append(poll, kindFunction), uint32(typesBefore))
	s[sectionType] = more(s[sectionType], typesBefore, []byte{typeFunction, 0, 0})
	s[sectionImport] = more(s[sectionImport], all, poll)
	s[sectionFunction] = more(s[sectionFunction], defined, appendU32(nil, uint32(typesBefore)))
	return &rewriter{
		imported: uint32(functions),
		check:    uint32(functions + 1 + defined),
		counter:  uint32(globals + globalsBefore), length: uint32(globals + globalsBefore + 1),
		known: known{uint32(typesBefore), uint32(functions + defined), uint32(globals + globalsBefore)},
	}, nil
}

func functionSection(data []byte, types int) (int, error) {
	r := &reader{data: data, known: &known{types: uint32(types)}}
	n := r.count()
	for range n {
		r.typeIndex()
	}
	return n, r.ended("function section")
}

// orNone is a section's content, or that of one without entries.
func orNone(content []byte) []byte {
	if content == nil {
		return []byte{0}
	}
	return content
}

// more appends one entry to a section that has n.
func more(content []byte, n int, entry []byte) []byte {
	r := &reader{data: orNone(content)}
	r.u32()
	out := appendU32(make([]byte, 0, len(content)+len(entry)+5), uint32(n)+1)
	return append(append(out, r.data[r.at:]...), entry...)
}
