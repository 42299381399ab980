package storetest

import (
	"bytes"
	"os"
	"testing"
)

// Spoil changes a bit of every copy of a text in a file, which may be in use: it
// is how a disk loses a bit of a value that an engine keeps as it is.
func Spoil(t testing.TB, path, text string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, []byte(text))
	if at < 0 {
		t.Fatalf("%s does not hold %q", path, text)
	}
	for next := 0; next >= 0; at += 1 + next {
		if _, err := f.WriteAt([]byte{data[at] ^ 1}, int64(at)); err != nil {
			t.Fatal(err)
		}
		next = bytes.Index(data[at+1:], []byte(text))
	}
}
