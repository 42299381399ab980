package wasmloops

const (
	kindFunction = 0
	kindTable    = 1
	kindMemory   = 2
	kindGlobal   = 3

	typeFunction  = 0x60
	typeI32       = 0x7f
	typeFuncref   = 0x70
	typeExternref = 0x6f

	// maxTables and maxEntries bound the tables of a module, which count against
	// no memory limit: a table does not grow beyond so many entries of 8 bytes,
	// or what it begins with.
	maxTables       = 64
	maxEntries      = 1 << 16
	maxFirstEntries = 1 << 20
)

// types passes over the type section, and returns how many there are.
func types(data []byte) (int, error) {
	r := &reader{data: data}
	n := r.count()
	for range n {
		if form := r.byte(); r.err == nil && form != typeFunction {
			r.failf("type form %#02x: expected a function's", form)
		}
		r.take(r.count())
		r.take(r.count())
	}
	return n, r.ended("type section")
}

// imports passes over the import section, and returns how many functions, globals and
// entries of all kinds there are.
func imports(data []byte, types int) (functions, globals, all int, err error) {
	r := &reader{data: data, known: &known{types: uint32(types)}}
	all = r.count()
	for range all {
		r.name()
		r.name()
		switch kind := r.byte(); kind {
		case kindFunction:
			functions++
			r.typeIndex()
		case kindTable:
			r.byte()
			r.limits()
		case kindMemory:
			r.limits()
		case kindGlobal:
			globals++
			r.take(2)
		default:
			r.failf("an import is of kind %d", kind)
		}
	}
	return functions, globals, all, r.ended("import section")
}

// limits reads the size that a table or memory begins with, and the largest.
func (r *reader) limits() (least, most uint32, bounded bool) {
	switch flags := r.byte(); flags {
	case 0:
		return r.u32(), 0, false
	case 1:
		return r.u32(), r.u32(), true
	default:
		r.failf("limits of form %d: shared and 64 bit memories are not of WebAssembly core 2.0", flags)
		return 0, 0, false
	}
}

// tables bounds how far tables grow.
func tables(data []byte) ([]byte, error) {
	r := &reader{data: data}
	n := r.count()
	if n > maxTables {
		r.failf("%d tables: at most %d", n, maxTables)
	}
	out := appendU32(nil, uint32(n))
	total := uint64(0)
	for range n {
		kind := r.byte()
		if r.err == nil && kind != typeFuncref && kind != typeExternref {
			r.failf("a table of type %#02x is not of WebAssembly core 2.0", kind)
		}
		least, most, bounded := r.limits()
		if total += uint64(least); total > maxFirstEntries {
			r.failf("tables begin with %d entries: at most %d", total, maxFirstEntries)
		}
		if bound := max(least, maxEntries); !bounded || most > bound {
			most = bound
		}
		out = appendU32(appendU32(append(out, kind, 1), least), most)
	}
	return out, r.ended("table section")
}

// globals renumbers the functions in the first values of globals.
func (w *rewriter) globals(data []byte) ([]byte, error) {
	r := w.reader(data)
	n := r.count()
	out := appendU32(nil, uint32(n)+2)
	for range n {
		out = append(out, r.take(2)...)
		out = w.constant(out, r)
	}
	out = append(out, typeI32, 1, opI32Const, 1, opEnd) // counter: the first turn polls
	out = append(out, typeI32, 1, opI32Const, 0, opEnd) // length
	return out, r.ended("global section")
}

// constant rewrites a constant expression.
func (w *rewriter) constant(out []byte, r *reader) []byte {
	for r.err == nil {
		start := r.at
		op := r.byte()
		switch op {
		case opRefFunc:
			out = appendU32(append(out, op), w.function(r))
			continue
		case opEnd:
			return append(out, op)
		case opI32Const, opI64Const, opF32Const, opF64Const, opGlobalGet, opRefNull, opVector:
			r.skipImmediates(op)
		default:
			r.failf("opcode %#02x is not constant", op)
		}
		out = append(out, r.data[start:r.at]...)
	}
	return out
}

// exports renumbers the functions that are exported.
func (w *rewriter) exports(data []byte) ([]byte, error) {
	r := w.reader(data)
	n := r.count()
	out := appendU32(nil, uint32(n))
	for range n {
		start := r.at
		r.name()
		kind := r.byte()
		out = append(out, r.data[start:r.at]...)
		switch kind {
		case kindFunction:
			out = appendU32(out, w.function(r))
		case kindGlobal:
			out = appendU32(out, r.globalIndex())
		default:
			out = appendU32(out, r.u32())
		}
	}
	return out, r.ended("export section")
}

func (w *rewriter) start(data []byte) ([]byte, error) {
	r := w.reader(data)
	out := appendU32(nil, w.function(r))
	return out, r.ended("start section")
}

// elements renumbers the functions that fill tables. The lowest bits of a segment's
// number say its form: 1 it is passive or declared, 2 it names a table or is
// declared, 4 it has expressions in place of numbers.
func (w *rewriter) elements(data []byte) ([]byte, error) {
	r := w.reader(data)
	n := r.count()
	out := appendU32(nil, uint32(n))
	for range n {
		form := r.u32()
		if form > 7 {
			r.failf("an element segment is of form %d", form)
		}
		out = appendU32(out, form)
		if form&1 == 0 {
			if form&2 != 0 {
				out = appendU32(out, r.u32())
			}
			out = w.constant(out, r)
		}
		if form&3 != 0 {
			out = append(out, r.byte()) // element kind or type
		}
		entries := r.count()
		out = appendU32(out, uint32(entries))
		for range entries {
			if form&4 == 0 {
				out = appendU32(out, w.function(r))
			} else {
				out = w.constant(out, r)
			}
			if r.err != nil {
				break
			}
		}
		if r.err != nil {
			break
		}
	}
	return out, r.ended("element section")
}

// data renumbers the functions of nothing: it only checks the data section's sizes.
func (w *rewriter) data(data []byte) error {
	r := w.reader(data)
	for range r.count() {
		form := r.u32()
		if form > 2 {
			r.failf("a data segment is of form %d", form)
		}
		if form == 2 {
			r.u32()
		}
		if form != 1 {
			w.constant(nil, r)
		}
		r.take(r.count())
		if r.err != nil {
			break
		}
	}
	return r.ended("data section")
}
