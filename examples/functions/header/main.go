//go:build wasip1

// Command header is an edge function as middleware, by the http-wasm HTTP handler ABI
// (https://http-wasm.io/http-handler-abi/): it marks the response and hands the request
// on to what follows. It is started once and called for each request, and so much
// faster than one that speaks CGI. Build it with
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -o header.wasm ./examples/functions/header
//
// and put it before what it is to mark:
//
//	apoxy {
//		edgefunction header ./header.wasm
//	}
//	reverse_proxy 127.0.0.1:8080
package main

import "unsafe"

func main() {} // a library's is not called

// ofResponse is the kind of header that the response has.
const ofResponse = 1

//go:wasmimport http_handler set_header_value
func setHeaderValue(kind uint32, name unsafe.Pointer, nameLen uint32, value unsafe.Pointer, valueLen uint32)

func setHeader(name, value string) {
	setHeaderValue(ofResponse, unsafe.Pointer(unsafe.StringData(name)), uint32(len(name)),
		unsafe.Pointer(unsafe.StringData(value)), uint32(len(value)))
}

//go:wasmexport handle_request
func handleRequest() uint64 {
	setHeader("X-Edge", "caddy-apoxy")
	return 1 // next = 1: what follows answers; 0 would mean that we have
}

//go:wasmexport handle_response
func handleResponse(ctx, isError uint32) {}
