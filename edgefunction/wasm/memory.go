package wasm

import (
	"github.com/tetratelabs/wazero/experimental"
)

// memory is one instance's linear memory, which does not grow beyond its limit.
// It implements experimental.MemoryAllocator and experimental.LinearMemory.
type memory struct {
	limit   uint64
	bytes   []byte
	refused bool // the guest wanted more
}

// Allocate implements experimental.MemoryAllocator. A module has one memory.
func (m *memory) Allocate(uint64, uint64) experimental.LinearMemory { return m }

// Reallocate implements experimental.LinearMemory.
func (m *memory) Reallocate(size uint64) []byte {
	switch {
	case size > m.limit:
		m.refused = true
		return nil
	case size > uint64(cap(m.bytes)):
		room := size
		if m.bytes != nil {
			room = min(size+size/4, m.limit) // what grows once grows again
		}
		grown := make([]byte, size, room)
		copy(grown, m.bytes)
		m.bytes = grown
	default:
		m.bytes = m.bytes[:size]
	}
	return m.bytes
}

// Free implements experimental.LinearMemory.
func (m *memory) Free() { m.bytes = nil }
