// Package js runs functions in JavaScript and TypeScript. Compile is an
// edgefunction.Compiler.
//
// # What a function is
//
// A file whose default export has a function fetch, as in Cloudflare Workers and Deno:
//
//	export default {
//	  async fetch(request, env, ctx) {
//	    return new Response("hello");
//	  },
//	};
//
// It is called .js, .mjs, .ts or .mts, its imports .jsx and .tsx too; types are taken off and
// not checked.
// What fetch returns, or the promise that it returns settles to, decides:
//
//   - a Response answers the request.
//   - nothing (undefined or null) hands it on to the next handler as it came, with its
//     body, whether or not the function has read it.
//   - a Request hands it on as that: its method, URL, header fields and, unless it is
//     the incoming one's, its body.
//
// env holds what the configuration gives. ctx has waitUntil(promise), for work that goes
// on after the answer, also when the client has gone; passThroughOnException(), which
// hands the request on where fetch throws; and remoteAddress, address and port of the
// client's connection.
//
// # What there is
//
// ECMAScript 2023 and more, without Intl. Request, Response, Headers, fetch, URL and
// URLSearchParams (by the WHATWG standard), ReadableStream, Blob, File, FormData,
// TextEncoder, TextDecoder (utf-8, utf-16le, utf-16be, windows-1252), atob, btoa,
// structuredClone, crypto.getRandomValues, crypto.randomUUID, crypto.subtle (digest with
// SHA-1, SHA-256, SHA-384, SHA-512; HMAC: importKey, exportKey, generateKey, sign,
// verify; timingSafeEqual), setTimeout, setInterval, clearTimeout, clearInterval,
// queueMicrotask, performance.now, console, Event, EventTarget, AbortController,
// AbortSignal, DOMException.
//
// fetch asks origins that Settings.Fetch grants and no others, redirects included: up to
// 50 times a request, six at once. What it sends is bounded by ResponseBody and Headers,
// what it reads by RequestBody and 64 KiB of header fields. It uses no proxy and keeps no
// cookies.
//
// Imports are bundled by esbuild: files below the function's own directory, relative or
// as packages in a node_modules there (field module or main; conditions workerd, worker,
// import), .json, and .txt as text. Links are followed first. Whatever lies outside,
// URLs and modules of other runtimes (node:, npm:, cloudflare:) are refused: who may
// write a function shall not read other files by importing them. Files are watched
// (Program.Files).
//
// # Limits
//
//   - Timeout: from the first instruction to the last, what is waited for included, but
//     not the client while it sends a body that is read, nor the next handler. The
//     client has a bound of its own: Timeout to begin with, and a second more for each
//     16 KiB that came; then the answer is 408. What waitUntil was given has what is
//     left of Timeout. An endless loop ends wherever it is, in a regular expression,
//     a sort or a getter too: QuickJS asks whether to go on, and where it does not,
//     internal/wasmloops does, a tenth of a second later.
//   - Memory: of one instance, where it is had: QuickJS then throws "out of memory".
//     At least 4 MiB. What the host holds for an instance comes on top: the request's
//     body, the answer, and up to six bodies of fetch.
//   - RequestBody, ResponseBody: bodies are whole; streams are read to their end first.
//   - Headers: names and values. Connection, Content-Length, Transfer-Encoding and so on
//     are the server's, and what a function says of them is left out.
//   - Log: console, in entries of at most 16 KiB.
//   - Concurrency: as many again may be at what waitUntil was given, in the background.
//     One more holds its request open until it is done.
//   - A module has thirty seconds to be evaluated.
//
// A promise that can never settle, because no timer and no fetch is left, is FaultCrash
// at once, and not FaultTimeout later. What goes wrong after the answer is logged.
//
// # State
//
// The module is evaluated once, when the file is loaded; instances begin as copies of the
// memory it left (start takes about a millisecond). fetch, timers and crypto's random
// numbers are refused at that time, so that no two instances share a secret that was
// drawn there; Math.random differs between instances. Variables outside of fetch live as
// long as their instance, which serves one request at a time and many after each other:
// they are good for caches, and no place for what belongs to one request. An instance is
// thrown away after any fault, when it has grown by more than 4 MiB, and when it was idle
// for a minute. Of a request that is over nothing can be used: not its body, not its
// ctx, and its timers and fetches end with it.
//
// # Where it differs
//
// From Workers: header fields of the incoming request are immutable there and here, but
// handing on by returning nothing, or a Request, is ours; there are no bindings, no
// caches, no HTMLRewriter, no WebSocket, no scheduled or queue handlers, no
// crypto.subtle beyond digests and HMAC, no streams beyond ReadableStream, no cf. From
// Deno: no Deno object, no permissions at run time, no remote imports. Answers are sent
// whole, with their length. Date runs in UTC. The text of stack traces within the
// function (error.stack) has the bundle's lines; what is logged or reported has the
// user's. Function.prototype.toString does not give the source.
//
// # The engine
//
// QuickJS-NG as a WebAssembly module (quickjs/README.md), run by wazero. Engines written
// in Go, such as grafana/sobek and dop251/goja, count no memory, and their built-in
// functions cannot be interrupted, so that neither limit can be held
// (BenchmarkJavaScriptBounds). Here memory is bounded by the allocator of the linear
// memory, time by counters in the engine's loops, and a flaw in the engine's C code stays
// within the instance. bench/edgefunction has the figures.
//
// Files: program.go is Compile and the pool, serve.go how one request is served;
// bundle.go imports and types, sourcemap.go the user's places; engine.go the module,
// setup.go the snapshot, instance.go and call.go one instance, memory.go its memory;
// imports.go what the module imports, operations.go what JavaScript calls (with
// encoding.go, url.go, crypto.go, fetch.go); exchange.go one request, answer.go what
// became of it. prelude/ is the Web APIs, in JavaScript.
package js
