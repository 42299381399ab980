// Package wasmloops makes WebAssembly guests call into Go from time to time, however
// they loop.
//
// wazero runs a guest as machine code, which Go's scheduler cannot interrupt: a loop
// that calls no host function holds up stop-the-world, and with it every goroutine of
// the process, until it ends. wazero's own check (WithCloseOnContextDone) makes
// computing about four times slower. Instrument puts a counter there in its place:
//
//	loop …                         loop …
//	  body              becomes      counter -= weight; if counter <= 0 { check() }
//	end                              body
//	                               end
//
// and the same at the entry of functions that call others, or are long, so that
// recursion is counted, and before instructions that move memory in bulk, weighed by
// how much. check calls the imported host function Module.Poll and winds the counter
// up again. Provide gives a runtime that function: it ends the guest when the context
// it was called with is over.
//
// Of the binary (WebAssembly core 2.0, all that wazero enables by default) the reader
// here checks what it walks over: sizes and counts against the bytes that are there,
// before wazero allocates by them. It does not validate; wazero does, what comes out.
//
// Files: reader.go reads bytes, opcodes.go knows what follows an opcode, code.go
// rewrites functions, sections.go the sections that name functions, names.go the names
// in stack traces, module.go puts the module together, poll.go is the host's side.
package wasmloops
