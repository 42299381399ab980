// Command command is a function that speaks CGI, and does what the path of a request
// says.
package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"os"
	"slices"
	"strings"
	"time"
)

func main() {
	switch path := os.Getenv("PATH_INFO"); {
	case strings.HasPrefix(path, "/raw"):
		fmt.Print(os.Getenv("QUERY_STRING_RAW"))
		raw, err := io.ReadAll(os.Stdin)
		if err != nil {
			panic(err)
		}
		os.Stdout.Write(raw)
	case path == "/loop":
		for {
		}
	case path == "/sleep":
		time.Sleep(time.Hour)
	case path == "/panic":
		panic("on purpose")
	case path == "/exit":
		fmt.Print("Content-Type: text/plain\r\n\r\nhalf an ans")
		os.Exit(3)
	case path == "/memory":
		var kept [][]byte
		for {
			kept = append(kept, make([]byte, 1<<20))
		}
	case path == "/body":
		fmt.Print("Content-Type: text/plain\r\n\r\n")
		for {
			if _, err := fmt.Print(strings.Repeat("b", 1<<16)); err != nil {
				for { // it does not take a hint
				}
			}
		}
	default:
		if err := cgi.Serve(http.HandlerFunc(serve)); err != nil {
			panic(err)
		}
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(os.Stderr, "serving", r.URL.Path)
	w.Header().Set("X-By", "cgi")
	http.SetCookie(w, &http.Cookie{Name: "a", Value: "1"})
	http.SetCookie(w, &http.Cookie{Name: "b", Value: "2"})
	w.WriteHeader(http.StatusAccepted)
	environ := os.Environ()
	slices.Sort(environ)
	fmt.Fprintf(w, "%s %s %s %s %d %q %s\n", r.Method, r.URL, r.Proto, r.Host, r.ContentLength, body, r.RemoteAddr)
	for _, line := range environ {
		fmt.Fprintln(w, line)
	}
}
