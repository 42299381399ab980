package wasmloops

const (
	// interval is what the counter is wound up to: so many turns of a short loop go
	// by between two polls, tens of microseconds.
	interval = 10_000
	// A turn weighs one, and one more for so many bytes of its function and so
	// many calls in it.
	bytesPerUnit = 4096
	callsPerUnit = 16
	// longEntry is from how many bytes on a function that calls none is counted at
	// its entry.
	longEntry = 1024
	// bulkShift: memory moved in bulk weighs one for each KiB.
	bulkShift = 10
	// maxLocals bounds a function's local variables, as browsers do.
	maxLocals = 50_000
)

// rewriter puts counters into code and renumbers functions.
type rewriter struct {
	imported uint32 // functions imported before; those defined move up by one
	check    uint32 // the function that polls, as numbered in the result
	counter  uint32 // global: what is left until the next poll
	length   uint32 // global: keeps a length for a moment
	known           // what the module had
}

func (w *rewriter) reader(data []byte) *reader { return &reader{data: data, known: &w.known} }

// function returns the number that a function has in the result.
func (w *rewriter) function(r *reader) uint32 {
	f := r.index(w.functions, "function")
	if f < w.imported {
		return f
	}
	return f + 1
}

// code rewrites the code section.
func (w *rewriter) code(data []byte) ([]byte, error) {
	r := w.reader(data)
	n := r.count()
	out := appendU32(make([]byte, 0, len(data)+len(data)/4), uint32(n)+1)
	for range n {
		size := r.count()
		body := w.reader(r.take(size))
		if r.err != nil {
			break
		}
		rewritten := w.body(body)
		if body.err != nil {
			r.fail(body.err)
			break
		}
		out = append(appendU32(out, uint32(len(rewritten))), rewritten...)
	}
	poll := w.checkBody()
	out = append(appendU32(out, uint32(len(poll))), poll...)
	return out, r.ended("code section")
}

// body rewrites one function.
func (w *rewriter) body(r *reader) []byte {
	total := uint64(0)
	for range r.count() {
		total += uint64(r.u32())
		r.byte()
	}
	if total > maxLocals {
		r.failf("a function has %d local variables: at most %d", total, maxLocals)
	}
	start := r.at
	calls := countCalls(&reader{data: r.data, at: start, err: r.err, known: r.known})
	weight := uint32(1 + len(r.data)/bytesPerUnit + calls/callsPerUnit)
	out := append(make([]byte, 0, len(r.data)+len(r.data)/4+32), r.data[:start]...)
	if calls > 0 || len(r.data) >= longEntry {
		out = w.count(out, weight)
	}
	for r.left() > 0 {
		out = w.instruction(out, r, weight)
	}
	return out
}

// countCalls passes over a function's instructions. Errors are found again when they
// are rewritten.
func countCalls(r *reader) (calls int) {
	for r.left() > 0 {
		switch op := r.byte(); op {
		case opCall:
			calls++
			r.u32()
		case opCallIndirect:
			calls++
			r.skipImmediates(op)
		case opRefFunc:
			r.u32()
		case opMisc:
			r.skipMisc(r.u32())
		default:
			r.skipImmediates(op)
		}
	}
	return calls
}

// instruction rewrites the next instruction.
func (w *rewriter) instruction(out []byte, r *reader, weight uint32) []byte {
	start := r.at
	switch op := r.byte(); op {
	case opCall, opRefFunc:
		return appendU32(append(out, op), w.function(r))
	case opLoop:
		r.blockType()
		return w.count(append(out, r.data[start:r.at]...), weight)
	case opMisc:
		if r.skipMisc(r.u32()) {
			out = w.countBulk(out)
		}
	default:
		r.skipImmediates(op)
	}
	return append(out, r.data[start:r.at]...)
}

// count appends: counter -= weight; if counter <= 0 { check() }
func (w *rewriter) count(out []byte, weight uint32) []byte {
	out = appendU32(append(out, opGlobalGet), w.counter)
	out = appendI32(append(out, opI32Const), weight)
	return w.subtract(out)
}

// countBulk appends the same with a weight of the topmost operand, which stays there.
func (w *rewriter) countBulk(out []byte) []byte {
	out = appendU32(append(out, opGlobalSet), w.length)
	out = appendU32(append(out, opGlobalGet), w.length)
	out = appendU32(append(out, opGlobalGet), w.counter)
	out = appendU32(append(out, opGlobalGet), w.length)
	out = appendI32(append(out, opI32Const), bulkShift)
	return w.subtract(append(out, opI32ShrU))
}

// subtract appends: counter = counter - weight, both of which are operands; if
// counter <= 0 { check() }
func (w *rewriter) subtract(out []byte) []byte {
	out = appendU32(append(out, opI32Sub, opGlobalSet), w.counter)
	out = appendU32(append(out, opGlobalGet), w.counter)
	out = append(out, opI32Const, 0, opI32LeS, opIf, blockVoid, opCall)
	return append(appendU32(out, w.check), opEnd)
}

// checkBody is the function: poll(); counter = interval
func (w *rewriter) checkBody() []byte {
	out := appendU32([]byte{0, opCall}, w.imported) // no local variables
	out = appendI32(append(out, opI32Const), interval)
	return append(appendU32(append(out, opGlobalSet), w.counter), opEnd)
}
