package wasmloops

const pageSize = 64 << 10

// FirstMemory returns how many bytes of memory a module begins with. Of a malformed
// module it may return anything.
func FirstMemory(wasm []byte) int64 {
	m, err := parse(wasm)
	if err != nil || m.sections[sectionMemory] == nil {
		return 0
	}
	r := &reader{data: m.sections[sectionMemory]}
	total := int64(0)
	for range r.count() {
		pages, _, _ := r.limits()
		total += int64(pages) * pageSize
	}
	return total
}
