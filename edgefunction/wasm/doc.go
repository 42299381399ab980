// Package wasm runs functions that are WebAssembly modules, on wazero. Compile is an
// edgefunction.Compiler.
//
// # Two shapes
//
// Told apart by what the module exports:
//
//   - handle_request and handle_response: the http-wasm HTTP handler ABI
//     (https://http-wasm.io/http-handler-abi/), imported from the module
//     "http_handler". Started once (_initialize, else _start, which has to return),
//     then called for each request; instances wait in a pool. One that trapped, exited
//     or was ended is thrown away, and so is one whose memory has grown beyond half of
//     what it may have; one that waited for a minute is closed. What a request leaves
//     in an instance's memory the next one finds there, as the ABI has it.
//   - _start: a WASI preview 1 command that speaks CGI/1.1 (RFC 3875) on its standard
//     input and output, as GOOS=wasip1 with net/http/cgi does. Each request has a
//     fresh instance.
//
// Both find WASI preview 1: clocks, randomness, the environment of Settings.Env, what is
// mounted (for reading, and regular files alone; links do not lead out of a mount), and
// nothing else: no network (Settings.Fetch is refused), no other files. A module
// that imports what is not there is refused, with each import named.
//
// # The ABI
//
// All functions of the specification are there, and all three features. Where it leaves
// the choice: get_config gives nothing; enable_features returns all that the host can; the
// request may be changed before next alone, and the response after next with
// buffer_response alone (else the guest is ended). A response body is held until the guest
// returns, so that a function that fails half way answers with a clean 5xx. With next = 1
// the headers that the guest set stay, but a status and body that it wrote before are
// dropped: next answers. With buffer_request the guest may read what next reads, too, up
// to RequestBody. When next returns an error, the guest is told (isError = 1), and the
// error goes on to who called, whatever the guest writes then. When next panics the guest
// is not told, and its instance is thrown away.
//
// # CGI
//
// The request's body is read whole before the command starts, so that CONTENT_LENGTH is
// true. Fields of the request with an underscore in their name are left out, and so is
// Proxy. With Location and no Status the status is 302; a local Location is sent to the
// client as it stands. Exit status other than 0 is a fault, whatever was written. What it
// writes to standard error is logged.
//
// # Limits
//
// Timeout is counted while the guest runs: not while next serves, nor while the client
// sends the body that is waited for. That has a bound of its own: Timeout to begin with,
// and a second more for each 16 KiB that came; then the answer is 408. The request's
// context ends the guest as well. Loops and recursion end within microseconds of it
// (internal/wasmloops), sleep at once. Memory is the linear memory's limit: growth beyond
// it fails in the guest, and when the guest fails of that, the fault is FaultMemory.
// Beside it wazero gives each call a stack of its own, which deep recursion makes up to 50
// MB large while it lasts; tables grow to 65,536 entries at most. Headers bounds what a
// function sets, on either side. Fields that frame a message (Connection, Content-Length,
// Transfer-Encoding and so on) are the server's, and what a function says of them is left
// out; a field's name or value that is not HTTP is FaultAnswer.
//
// Not there: sockets, WASI preview 2 and components, threads, tail calls, exceptions,
// memories of 64 bit, streaming of what a guest writes.
//
// Files: compile.go checks modules; program.go and instance.go keep them; handler.go and
// abi*.go are the one shape, cgi*.go the other; exchange.go is what both know of a
// request, with clock.go, memory.go, body.go, fields.go, recorder.go and printer.go for
// its limits.
package wasm
