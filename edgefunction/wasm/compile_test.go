package wasm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// section is one of a module made by hand.
func section(id byte, entries ...string) string {
	content := strings.Join(entries, "")
	return string(id) + string([]byte{byte(len(content) + 1), byte(len(entries))}) + content
}

// text is a name in a module.
func text(s string) string { return string(rune(len(s))) + s }

const (
	magic = "\x00asm\x01\x00\x00\x00"
	i64fn = "\x60\x00\x01\x7e"     // () -> i64
	twofn = "\x60\x02\x7f\x7f\x00" // (i32, i32) -> ()
	void  = "\x60\x00\x00"         // () -> ()
)

// tiny is a handler made by hand: its memory has so many pages, and handle_request
// does this.
func tiny(pages byte, body string) []byte {
	return []byte(magic + section(1, i64fn, twofn) + section(3, "\x00", "\x01") + section(5, "\x00"+string(rune(pages))) +
		section(7, text("memory")+"\x02\x00", text(handleRequest)+"\x00\x00", text(handleResponse)+"\x00\x01") +
		section(10, string(rune(len(body)+2))+"\x00"+body+"\x0b", "\x02\x00\x0b"))
}

func TestModulesThatAreNoFunctions(t *testing.T) {
	memory := section(5, "\x00\x01")
	exports := func(names ...string) string {
		all := []string{text("memory") + "\x02\x00"}
		for _, name := range names {
			all = append(all, text(name)+"\x00\x00")
		}
		return section(7, all...)
	}
	voids := magic + section(1, void) + section(3, "\x00")
	code := section(10, "\x02\x00\x0b")
	for want, wasm := range map[string]string{
		"it exports neither handle_request":                                                        magic,
		"it exports neither handle_request, as functions of the http":                              voids + memory + exports("run") + code,
		"its handle_request is () -> (): expected () -> (i64)":                                     voids + memory + exports(handleRequest) + code,
		"it exports handle_request, but no handle_response":                                        magic + section(1, i64fn) + section(3, "\x00") + memory + exports(handleRequest) + section(10, "\x04\x00\x42\x00\x0b"),
		`it exports no memory under the name "memory"`:                                             voids + section(7, text(start)+"\x00\x00") + code,
		"it imports what is not granted: env.open, net.dial: there are":                            magic + section(1, void) + section(2, text("env")+text("open")+"\x00\x00", text("net")+text("dial")+"\x00\x00"),
		"http_handler.get_uri as () -> () in place of (i32, i32) -> (i32)":                         magic + section(1, void) + section(2, text(hostModule)+text("get_uri")+"\x00\x00"),
		"the memory env.memory":                                                                    magic + section(2, text("env")+text("memory")+"\x02\x00\x01"),
		"this is no WebAssembly module":                                                            "<html>",
		"it begins with 8323072 bytes of memory, and may have 8000000":                             string(tiny(127, "\x42\x00")),
		"it does not start: crash: module[] function[_initialize] failed: wasm error: unreachable": string(startsWith("\x00")),
	} {
		var f function
		_, err := Compile(context.Background(), "fn.wasm", []byte(wasm), f.with(func(s *edgefunction.Settings) { s.Memory = 8_000_000 }))
		var at *edgefunction.SourceError
		if !errors.As(err, &at) || at.File != "fn.wasm" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
}

// startsWith is a handler whose _initialize does this.
func startsWith(body string) []byte {
	return []byte(magic + section(1, i64fn, twofn, void) + section(3, "\x00", "\x01", "\x02") + section(5, "\x00\x01") +
		section(7, text("memory")+"\x02\x00", text(handleRequest)+"\x00\x00", text(handleResponse)+"\x00\x01", text(initialize)+"\x00\x02") +
		section(10, "\x04\x00\x42\x00\x0b", "\x02\x00\x0b", string(rune(len(body)+2))+"\x00"+body+"\x0b"))
}

func TestTinyHandlers(t *testing.T) {
	for body, want := range map[string]edgefunction.FaultKind{
		"\x42\x00":                     "",                        // next = 0
		"\x00":                         edgefunction.FaultCrash,   // unreachable
		"\x03\x40\x0c\x00\x0b\x42\x00": edgefunction.FaultTimeout, // loop
		"\x10\x00":                     edgefunction.FaultCrash,   // it calls itself: the stack ends
		// memory.grow by 65535 pages, and fall over its failure
		"\x41\xff\xff\x03\x40\x00\x41\x7f\x46\x04\x40\x00\x0b\x42\x00": edgefunction.FaultMemory,
	} {
		var change func(*edgefunction.Settings)
		if want == edgefunction.FaultTimeout {
			change = short
		}
		f := compile(t, tiny(1, body), change)
		w, err := f.get("/", nil)
		if want == "" {
			wantBody(t, w, err, "")
		} else {
			wantFault(t, w, err, want, "")
		}
	}
}

func TestNothingIsGrantedButWhatIsSaid(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"in/a.txt": "content", "secret": "secret"} {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "secret"), filepath.Join(dir, "in/link")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("OURS", "the process's")
	f := handler(t, func(s *edgefunction.Settings) {
		s.Env = map[string]string{"THEIRS": "granted"}
		s.Mounts = []edgefunction.Mount{{Dir: filepath.Join(dir, "in"), At: "/data"}}
	})
	for path, want := range map[string]string{
		"/env?name=THEIRS":              "granted",
		"/env?name=OURS":                "",
		"/file?name=/data/a.txt":        "content<nil>",
		"/file?name=/data/link":         "open /data/link",
		"/file?name=/data/../secret":    "open /data/../secret",
		"/file?name=" + dir + "/secret": "open " + dir + "/secret",
		"/file?name=/etc/passwd":        "open /etc/passwd",
		"/create?name=/data/new":        "open /data/new",
	} {
		w, err := f.get(path, nil)
		if got := w.Body.String(); err != nil || !strings.HasPrefix(got, want) || strings.Contains(got, "secret<nil>") {
			t.Errorf("%s: %q, %v: want %q", path, got, err, want)
		}
	}
	bare := handler(t, nil)
	if w, err := bare.get("/file?name=/data/a.txt", nil); err != nil || strings.Contains(w.Body.String(), "content") {
		t.Error(w.Body, err)
	}
}

func TestSettingsThatCannotBeGranted(t *testing.T) {
	for want, change := range map[string]func(*edgefunction.Settings){
		`env: "A=B"`:           func(s *edgefunction.Settings) { s.Env = map[string]string{"A=B": "c"} },
		"fetch https://a.test": func(s *edgefunction.Settings) { s.Fetch = []string{"https://a.test"} },
		"mounting /not/there":  func(s *edgefunction.Settings) { s.Mounts = []edgefunction.Mount{{Dir: "/not/there", At: "/"}} },
	} {
		var f function
		_, err := Compile(context.Background(), "fn.wasm", tiny(1, "\x42\x00"), f.with(change))
		var at *edgefunction.SourceError
		if err == nil || errors.As(err, &at) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
}
