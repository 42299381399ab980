package setup

import (
	"bytes"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"
)

var (
	testKey = bytes.Repeat([]byte{7}, KeySize)
	testNow = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
)

const testUID = "8e1f8c3a-0b6d-4c1e-9a70-0123456789ab"

func signed(t testing.TB, l Link) string {
	t.Helper()
	token, err := Sign(testKey, l)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestALinkIsReadAsItWasSigned(t *testing.T) {
	for _, l := range []Link{
		{Name: "api.example.com", UID: testUID, Expires: testNow.Add(time.Second)},
		{Name: "a", UID: "custom", Expires: testNow.Add(90 * 24 * time.Hour)},
		{Name: strings.Repeat("n", maxTokenName), UID: strings.Repeat("u", maxTokenUID), Expires: testNow.Add(time.Hour)},
		{Name: "x", UID: strings.ToUpper(testUID), Expires: testNow.Add(time.Hour)},
	} {
		token := signed(t, l)
		got, err := Verify(testKey, token, testNow)
		if err != nil || got != l {
			t.Errorf("%+v comes back as %+v, %v", l, got, err)
		}
		if len(token) > maxToken || strings.Trim(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("the token %q is too long or no plain part of a path", token)
		}
	}
	if n := len(signed(t, Link{Name: "api.example.com", UID: testUID, Expires: testNow})); n > 100 {
		t.Errorf("a usual token has %d letters", n)
	}
}

func TestALinkThatIsNotRightIsRefused(t *testing.T) {
	good := Link{Name: "api.example.com", UID: testUID, Expires: testNow.Add(time.Hour)}
	token := signed(t, good)
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Repeat([]byte{8}, KeySize)
	foreign, err := Sign(other, good)
	if err != nil {
		t.Fatal(err)
	}
	again := func(change func(b []byte)) string { // with a signature that holds
		b := bytes.Clone(raw[:len(raw)-KeySize])
		change(b)
		return tokenEncoding.EncodeToString(append(b, sum(testKey, b)...))
	}
	for _, c := range []struct {
		is, token string
		want      error
	}{
		{"nothing", "", ErrForged},
		{"a word", "hello", ErrForged},
		{"cut off", token[:len(token)-1], ErrForged},
		{"half of it", token[:len(token)/2], ErrForged},
		{"longer", token + "A", ErrForged},
		{"padded", token + "=", ErrForged},
		{"very long", strings.Repeat("A", 1<<20), ErrForged},
		{"signed with another key", foreign, ErrForged},
		{"a line end inside", token[:10] + "\n" + token[10:], ErrForged},
		{"of a later version", again(func(b []byte) { b[0] = 2 }), ErrForged},
		{"with an end out of range", again(func(b []byte) { b[1] = 0x7f }), ErrForged},
		{"with a uid longer than all", again(func(b []byte) { b[9] = 255 }), ErrForged},
		{"expired", signed(t, Link{Name: good.Name, UID: good.UID, Expires: testNow}), ErrExpired},
	} {
		if l, err := Verify(testKey, c.token, testNow); !errors.Is(err, c.want) || l != (Link{}) {
			t.Errorf("%s: %+v, %v, want %v", c.is, l, err, c.want)
		}
	}
	for i := range raw {
		b := bytes.Clone(raw)
		b[i] ^= 1
		if _, err := Verify(testKey, tokenEncoding.EncodeToString(b), testNow); !errors.Is(err, ErrForged) {
			t.Errorf("with octet %d changed: %v", i, err)
		}
	}
	for _, key := range [][]byte{nil, testKey[:16]} {
		if _, err := Verify(key, token, testNow); !errors.Is(err, ErrForged) {
			t.Errorf("with a key of %d octets: %v", len(key), err)
		}
	}
}

func TestWhatCannotBeALinkIsNotSigned(t *testing.T) {
	good := Link{Name: "a", UID: testUID, Expires: testNow}
	for is, change := range map[string]func(l *Link, key *[]byte){
		"no name":      func(l *Link, _ *[]byte) { l.Name = "" },
		"a long name":  func(l *Link, _ *[]byte) { l.Name = strings.Repeat("a", maxTokenName+1) },
		"no uid":       func(l *Link, _ *[]byte) { l.UID = "" },
		"a long uid":   func(l *Link, _ *[]byte) { l.UID = strings.Repeat("a", maxTokenUID+1) },
		"no end":       func(l *Link, _ *[]byte) { l.Expires = time.Time{} },
		"a short key":  func(_ *Link, key *[]byte) { *key = testKey[:31] },
		"no key":       func(_ *Link, key *[]byte) { *key = nil },
		"an end never": func(l *Link, _ *[]byte) { l.Expires = time.Unix(maxExpires+1, 0) },
	} {
		l, key := good, testKey
		change(&l, &key)
		if token, err := Sign(key, l); err == nil {
			t.Errorf("%s: signed as %s", is, token)
		}
	}
}

func FuzzVerify(f *testing.F) {
	f.Add(signed(f, Link{Name: "api.example.com", UID: testUID, Expires: testNow.Add(time.Hour)}))
	f.Add(signed(f, Link{Name: "a", UID: "b", Expires: testNow}))
	f.Add("")
	f.Add(strings.Repeat("A", minToken))
	f.Fuzz(func(t *testing.T, token string) {
		l, err := Verify(testKey, token, testNow)
		if err != nil {
			if l != (Link{}) || !errors.Is(err, ErrForged) && !errors.Is(err, ErrExpired) {
				t.Fatalf("%q: %+v, %v", token, l, err)
			}
		} else if signed(t, l) != token {
			t.Fatalf("%q is another text of the link %+v", token, l)
		}
		// What is signed by us, whatever it says.
		b, err := tokenEncoding.DecodeString(token)
		if err != nil || len(b) < KeySize {
			return
		}
		b = b[:len(b)-KeySize]
		token = tokenEncoding.EncodeToString(append(b, sum(testKey, b)...))
		if l, err := Verify(testKey, token, testNow); err == nil && signed(t, l) != token {
			if _, packed := packUID(l.UID); !packed { // a UUID may be written out, too; none of ours is
				t.Fatalf("%q is another text of the link %+v", token, l)
			}
		}
	})
}
