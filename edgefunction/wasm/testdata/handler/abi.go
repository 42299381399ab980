package main

import "unsafe"

//go:wasmimport http_handler enable_features
func enableFeatures(features uint32) uint32

//go:wasmimport http_handler get_config
func getConfig(buf unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler log
func logText(level int32, text unsafe.Pointer, n uint32)

//go:wasmimport http_handler log_enabled
func logEnabled(level int32) uint32

//go:wasmimport http_handler get_method
func getMethod(buf unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler set_method
func setMethod(text unsafe.Pointer, n uint32)

//go:wasmimport http_handler get_uri
func getURI(buf unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler get_uri
func getURIAt(buf, limit uint32) uint32

//go:wasmimport http_handler set_uri
func setURI(text unsafe.Pointer, n uint32)

//go:wasmimport http_handler get_protocol_version
func getProtocolVersion(buf unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler get_source_addr
func getSourceAddr(buf unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler get_header_names
func getHeaderNames(kind uint32, buf unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler get_header_values
func getHeaderValues(kind uint32, name unsafe.Pointer, n uint32, buf unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler set_header_value
func setHeaderValue(kind uint32, name unsafe.Pointer, n uint32, value unsafe.Pointer, m uint32)

//go:wasmimport http_handler add_header_value
func addHeaderValue(kind uint32, name unsafe.Pointer, n uint32, value unsafe.Pointer, m uint32)

//go:wasmimport http_handler remove_header
func removeHeader(kind uint32, name unsafe.Pointer, n uint32)

//go:wasmimport http_handler read_body
func readBody(kind uint32, buf unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler read_body
func readBodyAt(kind, buf, limit uint32) uint64

//go:wasmimport http_handler write_body
func writeBody(kind uint32, text unsafe.Pointer, n uint32)

//go:wasmimport http_handler write_body
func writeBodyAt(kind, text, n uint32)

//go:wasmimport http_handler get_status_code
func getStatusCode() uint32

//go:wasmimport http_handler set_status_code
func setStatusCode(code uint32)

func ptr(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

// got is what a function gives that is asked twice, the first time for the length.
func got(get func(unsafe.Pointer, uint32) uint32) string {
	n := get(nil, 0)
	if n == 0 {
		return ""
	}
	buf := make([]byte, n)
	get(unsafe.Pointer(&buf[0]), n)
	return string(buf)
}

func list(get func(unsafe.Pointer, uint32) uint64) (all []string) {
	n := uint32(get(nil, 0))
	if n == 0 {
		return nil
	}
	buf := make([]byte, n)
	count := get(unsafe.Pointer(&buf[0]), n) >> 32
	for _, b := range split(buf) {
		all = append(all, string(b))
	}
	if uint64(len(all)) != count {
		panic("the count is wrong")
	}
	return all
}

func split(buf []byte) (all [][]byte) {
	start := 0
	for i, b := range buf {
		if b == 0 {
			all = append(all, buf[start:i])
			start = i + 1
		}
	}
	return all
}

func values(kind uint32, name string) []string {
	p, n := ptr(name)
	return list(func(b unsafe.Pointer, l uint32) uint64 { return getHeaderValues(kind, p, n, b, l) })
}

func setHeader(kind uint32, name, value string) {
	p, n := ptr(name)
	q, m := ptr(value)
	setHeaderValue(kind, p, n, q, m)
}

func addHeader(kind uint32, name, value string) {
	p, n := ptr(name)
	q, m := ptr(value)
	addHeaderValue(kind, p, n, q, m)
}

func write(kind uint32, text string) {
	p, n := ptr(text)
	writeBody(kind, p, n)
}

func read(kind uint32) string {
	var all []byte
	buf := make([]byte, 1000)
	for {
		n := readBody(kind, unsafe.Pointer(&buf[0]), uint32(len(buf)))
		all = append(all, buf[:uint32(n)]...)
		if n>>32 == 1 {
			return string(all)
		}
	}
}
