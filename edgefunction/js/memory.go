package js

// page is WebAssembly's unit of memory, in bytes.
const page = 64 << 10

// memory is the linear memory of one instance. It implements wazero's LinearMemory
// and MemoryAllocator, so that the bound holds where memory is had.
type memory struct {
	bytes   []byte
	limit   uint64 // in bytes
	refused bool   // whether more than the limit was asked for
}

// reserve returns a memory that grows to size without being moved.
func reserve(size, limit uint64) *memory {
	return &memory{bytes: make([]byte, 0, size), limit: limit}
}

// Reallocate returns the memory with a length of size bytes, nil if it may not have
// them.
func (m *memory) Reallocate(size uint64) []byte {
	if size > m.limit {
		m.refused = true
		return nil
	}
	if size > uint64(cap(m.bytes)) {
		grown := make([]byte, size, min(m.limit, (size+size/4+page-1)/page*page))
		copy(grown, m.bytes)
		m.bytes = grown
	}
	m.bytes = m.bytes[:size]
	return m.bytes
}

// Free lets go of the memory.
func (m *memory) Free() { m.bytes = nil }
