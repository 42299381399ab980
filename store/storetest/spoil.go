package storetest

import (
	"bytes"
	"os"
	"testing"
)

// leastText is the part of a text that Spoil takes for the text.
const leastText = 6

// Spoil changes a bit of every copy of a text in a file, which may be in use: it
// is how a disk loses a bit of a value. Where the file does not hold the text, because
// values are kept packed, it is the longest part of the text that it does hold: what is
// like nothing else, such as a UID, stands there as it is.
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
	text, ok := longestIn(data, text)
	if !ok {
		t.Fatalf("%s does not hold %q", path, text)
	}
	at := bytes.Index(data, []byte(text))
	for next := 0; next >= 0; at += 1 + next {
		if _, err := f.WriteAt([]byte{data[at] ^ 1}, int64(at)); err != nil {
			t.Fatal(err)
		}
		next = bytes.Index(data[at+1:], []byte(text))
	}
}

// longestIn returns the longest part of a text that data holds, of at least leastText
// bytes; else the text and false.
func longestIn(data []byte, text string) (string, bool) {
	for n := len(text); n >= leastText; n-- {
		for from := len(text) - n; from >= 0; from-- {
			if part := text[from : from+n]; bytes.Contains(data, []byte(part)) {
				return part, true
			}
		}
	}
	return text, false
}
