// Command command is a function that speaks CGI, and does what the path of a request
// says. It does without net/http, which takes long to compile: examples/functions/hello
// has it.
package main

import (
	"io"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	switch os.Getenv("PATH_INFO") {
	case "/raw":
		os.Stdout.WriteString(body())
	case "/loop":
		for {
		}
	case "/sleep":
		time.Sleep(time.Hour)
	case "/panic":
		panic("on purpose")
	case "/exit":
		os.Stdout.WriteString("Content-Type: text/plain\r\n\r\nhalf an ans")
		os.Exit(3)
	case "/memory":
		var kept [][]byte
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case "/body":
		os.Stdout.WriteString("Content-Type: text/plain\r\n\r\n")
		for {
			if _, err := os.Stdout.WriteString(strings.Repeat("b", 1<<16)); err != nil {
				for { // it does not take a hint
				}
			}
		}
	default:
		serve()
	}
}

func body() string {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func serve() {
	os.Stderr.WriteString("serving " + os.Getenv("PATH_INFO") + "\n")
	os.Stdout.WriteString("Status: 202 Accepted\r\nContent-Type: text/plain\r\nX-By: cgi\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\n\r\n")
	os.Stdout.WriteString("body " + body() + "\n")
	environ := os.Environ()
	slices.Sort(environ)
	for _, line := range environ {
		os.Stdout.WriteString(line + "\n")
	}
}
