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
// values are kept packed, it is the longest end of the text that it does hold: what is
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
	whole := text
	at := bytes.Index(data, []byte(text))
	for ; at < 0; at = bytes.Index(data, []byte(text)) {
		if text = text[1:]; len(text) < leastText {
			t.Fatalf("%s does not hold %q", path, whole)
		}
	}
	for next := 0; next >= 0; at += 1 + next {
		if _, err := f.WriteAt([]byte{data[at] ^ 1}, int64(at)); err != nil {
			t.Fatal(err)
		}
		next = bytes.Index(data[at+1:], []byte(text))
	}
}
