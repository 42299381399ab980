package ownership

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// FuzzDecodeHolder: what is stored of a holder is read as it was written; anything else is a holder
// whom nobody knows, never nobody and never an owner of its own making.
func FuzzDecodeHolder(f *testing.F) {
	for _, seed := range []string{
		`{"owner":"acme","uid":"0d5a8a3c","time":"2026-03-01T12:00:00Z"}`, `{"owner":"","uid":"1"}`,
		`{"owner":"acme","uid":"1","token":true}`, `{"owner":"acme"}`, `{}`, `null`, `[]`, ``, `{"uid":1}`,
	} {
		f.Add([]byte(seed), "acme", "1")
	}
	f.Fuzz(func(t *testing.T, stored []byte, owner, uid string) {
		p, err := DecodeHolder(stored)
		switch {
		case p == nil:
			t.Fatalf("%q is nobody", stored)
		case err != nil && !p.Unknown:
			t.Fatalf("%q is %+v in spite of %v", stored, p, err)
		case p.Unknown && (!p.other(owner) || !p.other("")):
			t.Fatalf("%q, whom nobody knows, is %q", stored, owner)
		}
		h := Holder{Owner: owner, UID: types.UID(uid)}
		raw, err := h.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodeHolder(raw)
		if (err != nil) != (uid == "") {
			t.Fatalf("%q of uid %q: %v", raw, uid, err)
		}
		if err == nil && back.Owner != string([]rune(owner)) {
			t.Fatalf("%q is read as %q", raw, back.Owner)
		}
	})
}
