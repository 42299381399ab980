package wasmloops

// Opcodes of WebAssembly core 2.0, section 5.4, that are treated one by one.
const (
	opBlock        = 0x02
	opLoop         = 0x03
	opIf           = 0x04
	opElse         = 0x05
	opEnd          = 0x0b
	opBr           = 0x0c
	opBrIf         = 0x0d
	opBrTable      = 0x0e
	opReturn       = 0x0f
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opSelect       = 0x1b
	opSelectTyped  = 0x1c
	opLocalGet     = 0x20
	opGlobalGet    = 0x23
	opGlobalSet    = 0x24
	opTableSet     = 0x26
	opI32Load      = 0x28
	opI64Store32   = 0x3e
	opMemorySize   = 0x3f
	opMemoryGrow   = 0x40
	opI32Const     = 0x41
	opI64Const     = 0x42
	opF32Const     = 0x43
	opF64Const     = 0x44
	opI32Eqz       = 0x45
	opI32LeS       = 0x4c
	opI32Sub       = 0x6b
	opI32ShrU      = 0x76
	opLastSignExt  = 0xc4
	opRefNull      = 0xd0
	opRefIsNull    = 0xd1
	opRefFunc      = 0xd2
	opMisc         = 0xfc
	opVector       = 0xfd

	miscLastTruncation = 0x07
	miscMemoryInit     = 0x08
	miscDataDrop       = 0x09
	miscMemoryCopy     = 0x0a
	miscMemoryFill     = 0x0b
	miscTableInit      = 0x0c
	miscElemDrop       = 0x0d
	miscTableCopy      = 0x0e
	miscTableGrow      = 0x0f
	miscTableSize      = 0x10
	miscTableFill      = 0x11

	vecLastMemory  = 0x0b // the first are loads, and v128.store
	vecConst       = 0x0c
	vecShuffle     = 0x0d
	vecFirstLane   = 0x15 // extract_lane and replace_lane
	vecLastLane    = 0x22
	vecFirstMemory = 0x54 // loads and stores of one lane
	vecLastOneLane = 0x5b
	vecLastZero    = 0x5d // loads that fill with zeros
	vecLast        = 0xff

	blockVoid = 0x40
)

// skipImmediates passes over what follows an opcode that names no function.
func (r *reader) skipImmediates(op byte) {
	switch {
	case op == opBlock, op == opLoop, op == opIf:
		r.blockType()
	case op == opI32Const:
		r.skipLEB(5)
	case op == opGlobalGet, op == opGlobalSet:
		r.globalIndex()
	case op == opBr, op == opBrIf, op >= opLocalGet && op <= opTableSet, op == opMemorySize, op == opMemoryGrow, op == opRefNull:
		r.u32()
	case op == opBrTable:
		for range r.count() {
			r.u32()
		}
		r.u32()
	case op == opCallIndirect:
		r.typeIndex()
		r.u32()
	case op == opSelectTyped:
		r.take(r.count())
	case op >= opI32Load && op <= opI64Store32:
		r.u32()
		r.u32()
	case op == opI64Const:
		r.skipLEB(10)
	case op == opF32Const:
		r.take(4)
	case op == opF64Const:
		r.take(8)
	case op == opVector:
		r.skipVector()
	case op <= 0x01, op == opElse, op == opEnd, op == opReturn, op == opDrop, op == opSelect,
		op >= opI32Eqz && op <= opLastSignExt, op == opRefIsNull: // nothing follows
	default:
		r.failf("opcode %#02x is not of WebAssembly core 2.0", op)
	}
}

// skipMisc passes over what follows the number of an instruction of prefix 0xfc, and
// tells whether it works on as much as the topmost operand says.
func (r *reader) skipMisc(op uint32) (bulk bool) {
	switch {
	case op <= miscLastTruncation:
		return false
	case op == miscMemoryInit, op == miscMemoryCopy, op == miscTableInit, op == miscTableCopy:
		r.u32()
		r.u32()
		return true
	case op == miscMemoryFill, op == miscTableFill:
		r.u32()
		return true
	case op == miscDataDrop, op == miscElemDrop, op == miscTableGrow, op == miscTableSize:
		r.u32()
		return false
	default:
		r.failf("opcode 0xfc %#02x is not of WebAssembly core 2.0", op)
		return false
	}
}

func (r *reader) skipVector() {
	switch op := r.u32(); {
	case op <= vecLastMemory, op > vecLastOneLane && op <= vecLastZero:
		r.u32()
		r.u32()
	case op == vecConst, op == vecShuffle:
		r.take(16)
	case op >= vecFirstLane && op <= vecLastLane:
		r.byte()
	case op >= vecFirstMemory && op <= vecLastOneLane:
		r.u32()
		r.u32()
		r.byte()
	case op > vecLast:
		r.failf("opcode 0xfd %#02x is not of WebAssembly core 2.0", op)
	}
}
