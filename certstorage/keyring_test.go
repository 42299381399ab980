package certstorage

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
)

func testKey(t testing.TB, fill byte) Key {
	t.Helper()
	k, err := ParseKey(strings.Repeat(string([]byte{'0', fill}), keySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseKey(t *testing.T) {
	const want = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	first, err := ParseKey(want)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		strings.ToUpper(want), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", "\t" + want + "\r\n",
	} {
		if k, err := ParseKey(text); err != nil || k.ID() != first.ID() {
			t.Errorf("%q: key %s, %v; want %s", text, k.ID(), err, first.ID())
		}
	}
	for _, text := range []string{"", "secret", want[2:], want + "00", "AAECAwQFBgcICQoLDA0ODw=="} {
		if _, err := ParseKey(text); err == nil || !strings.Contains(err.Error(), "expected 32 random bytes") || text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := NewKeyring(first, testKey(t, '1'), first); err == nil || !strings.Contains(err.Error(), first.ID().String()) {
		t.Errorf("one key twice: %v", err)
	}
}

func TestSealAndOpen(t *testing.T) {
	at := time.Unix(1_700_000_000, 123)
	one, two := testKey(t, '1'), testKey(t, '2')
	for name, ring := range map[string]Keyring{"plain": nil, "sealed": {one}} {
		for _, value := range [][]byte{{}, []byte("x"), bytes.Repeat([]byte("PRIVATE KEY"), 1000)} {
			raw := ring.seal("a/b", value, at)
			h, err := parseHeader(raw)
			if err != nil || !h.modified.Equal(at) || h.size != int64(len(value)) || h.sealed != (ring != nil) || !ring.seals(h) {
				t.Errorf("%s: %+v, %v", name, h, err)
			}
			got, _, err := append(Keyring{two}, ring...).open("a/b", raw)
			if err != nil || !bytes.Equal(got, value) {
				t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(value))
			}
			if ring != nil && len(value) > 100 && bytes.Contains(raw, []byte("PRIVATE")) {
				t.Error("a sealed value can be read")
			}
		}
	}

	raw := Keyring{one}.seal("a/b", bytes.Repeat([]byte("x"), 300), at)
	if len(raw) > 150 {
		t.Errorf("300 bytes that are alike are kept in %d", len(raw))
	}
	var unknown *UnknownKeyError
	for _, ring := range []Keyring{nil, {two}} {
		_, _, err := ring.open("a/b", raw)
		if !errors.As(err, &unknown) || unknown.Key != one.ID() || !strings.Contains(err.Error(), one.ID().String()) || !strings.Contains(err.Error(), "add that key") {
			t.Errorf("without its key: %v", err)
		}
	}
	if _, _, err := (Keyring{one}).open("a/c", raw); !errors.Is(err, errForged) {
		t.Errorf("moved to another key: %v", err)
	}
	for i := range raw {
		if i == 1 { // what says that it is sealed at all: such values are read, too
			continue
		}
		changed := bytes.Clone(raw)
		changed[i] ^= 1
		if got, _, err := (Keyring{one}).open("a/b", changed); err == nil {
			t.Errorf("with byte %d changed it opens as %q", i, got)
		}
	}
	var newer *NewerError
	if _, _, err := (Keyring{one}).open("a/b", append([]byte{2}, raw[1:]...)); !errors.As(err, &newer) || newer.Version != 2 {
		t.Errorf("a newer format: %v", err)
	}
}

// FuzzOpen: no bytes are too strange to be told what is wrong with them.
func FuzzOpen(f *testing.F) {
	ring := Keyring{testKey(f, '1')}
	for _, raw := range [][]byte{nil, {0}, {1}, {1, 1}, {2}, ring.seal("k", []byte("value"), time.Unix(1, 2)), Keyring(nil).seal("k", []byte("value"), time.Unix(1, 2))} {
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		value, h, err := ring.open("k", raw)
		_, _ = Check("k", raw), CheckVersion(raw)
		if err == nil && h.size != int64(len(value)) {
			t.Errorf("%d bytes, and the header says %d", len(value), h.size)
		}
	})
}

func TestFence(t *testing.T) {
	if ops, err := fence(nil); len(ops) != 0 || err != nil {
		t.Errorf("without locks: %v, %v", ops, err)
	}
	ops, err := fence([]standing{{name: "a", revision: 7}, {name: "b", revision: 9}})
	if err != nil || len(ops) != 2 || !ops[0].Check || ops[0].Key != "storage-locks/a" || ops[0].If != 7 || ops[1].If != 9 {
		t.Errorf("with two locks: %+v, %v", ops, err)
	}
	var lost *LockLostError
	if _, err := fence([]standing{{name: "a", revision: 7}, {name: "b", revision: 9, lost: true}}); !errors.As(err, &lost) || lost.Name != "b" {
		t.Errorf("with one that was lost: %v", err)
	}
}

func TestPathElements(t *testing.T) {
	for key, want := range map[string]string{
		"a":                              "a",
		"certificates/ca/x.y/x.y.key":    "certificates,ca,x.y,x.y.key,x.y",
		"acme/ca/orders/wildcard_.y.key": "acme,ca,orders,wildcard_.y.key,wildcard_.y",
		"a/.b":                           "a,.b",
	} {
		if got := strings.Join(pathElements(key), ","); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}
