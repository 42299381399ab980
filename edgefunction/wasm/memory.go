package wasm

import (
	"sync/atomic"

	"github.com/tetratelabs/wazero/experimental"
)

// mostAhead bounds what is allocated ahead of a guest's wanting it, in bytes: one
// greedy request makes no others greedy.
const mostAhead = 16 << 20

// memory is one instance's linear memory, which does not grow beyond its limit.
// It implements experimental.MemoryAllocator and experimental.LinearMemory.
type memory struct {
	limit   uint64
	usual   *atomic.Uint64 // how large the last one of its program became
	bytes   []byte
	refused bool // the guest wanted more
}

// newMemory returns the memory of an instance to be made.
func (p *program) newMemory() *memory {
	return &memory{limit: uint64(p.settings.Memory), usual: &p.usual}
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
		room := max(size, min(m.usual.Load(), mostAhead, m.limit)) // it will grow to that: nothing is copied
		if m.bytes != nil {
			room = max(room, min(size+size/4, m.limit)) // what grows once grows again
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
func (m *memory) Free() {
	m.usual.Store(uint64(len(m.bytes)))
	m.bytes = nil
}
