package wasmloops

import "slices"

// Subsections of the custom section "name" (WebAssembly core 2.0, appendix 7.4).
const (
	namesModule   = 0
	namesFunction = 1
)

// names renumbers the functions that the custom section "name" names. The other names
// in it are left out: nobody reads them. So is all of it where it is malformed, as
// custom sections do not make a module invalid.
func (w *rewriter) names(data []byte) []byte {
	r := w.reader(data)
	var out []byte
	last := -1
	for r.left() > 0 {
		id := r.byte()
		part := r.take(r.count())
		if r.err != nil || int(id) <= last {
			return nil
		}
		last = int(id)
		switch id {
		case namesFunction:
			renumbered, ok := w.functionNames(part)
			if !ok {
				return nil
			}
			part = renumbered
		case namesModule:
		default:
			continue
		}
		out = append(appendU32(append(out, id), uint32(len(part))), part...)
	}
	return out
}

func (w *rewriter) functionNames(data []byte) ([]byte, bool) {
	r := w.reader(data)
	n := r.count()
	out := appendU32(nil, uint32(n))
	for range n {
		out = appendU32(out, w.function(r))
		name := r.name()
		out = appendName(out, string(name))
	}
	return slices.Clip(out), r.ended("names") == nil
}
