package pack

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
)

func examples() [][]byte { return bytes.Split(bytes.TrimSpace(dictionary1), []byte("\n")) }

// values are of every length that is treated differently.
func values() map[string][]byte {
	noise := make([]byte, 100_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it cannot fail
	v := map[string][]byte{
		"empty": {}, "one byte": {7}, "short": []byte("www.example.com"), "noise": noise[:3000], "much noise": noise,
		"long": []byte(strings.Repeat("all the same ", 20_000)), "a name": []byte(strings.Repeat("a", shortest)),
	}
	for _, e := range examples() {
		v[string(e[:60])] = e
		v["another "+string(e[:60])] = bytes.ReplaceAll(e, []byte("com"), []byte("customer-17.example"))
	}
	return v
}

func TestWhatIsKeptIsRead(t *testing.T) {
	for name, value := range values() {
		for how, kept := range map[string][]byte{
			"Append": Append([]byte("x"), value)[1:], "AppendPortable": AppendPortable([]byte("x"), value)[1:], "Value": Value(value),
		} {
			if how == "Value" && kept == nil {
				continue
			}
			for _, buf := range [][]byte{nil, {}, make([]byte, 5), make([]byte, 1<<20)} {
				got, err := Read(buf, kept)
				if err != nil || got == nil || !bytes.Equal(got, value) {
					t.Errorf("%s, %s: %d bytes come back as %d, %v", name, how, len(value), len(got), err)
				}
			}
		}
	}
}

func TestRecordsBecomeShort(t *testing.T) {
	for _, e := range examples() {
		// Nothing that tells one record from another is in the dictionary.
		e = bytes.ReplaceAll(e, []byte("com"), []byte("customer-17.example"))
		e = bytes.ReplaceAll(e, []byte("202"), []byte("199"))
		if small := Value(e); len(e) > 1000 && (small == nil || len(small) > len(e)/3) {
			t.Errorf("%d bytes became %d", len(e), len(small))
		}
	}
}

// TestTheDictionaryIsWhatItWas fails if files that were written would not be read any
// more. Neither the sum nor what was kept may be replaced by others.
func TestTheDictionaryIsWhatItWas(t *testing.T) {
	const want = "5e46d85479b3d0d9b6338752aeaa5652afa32093bd38c477dd0804e55c62f209"
	if sum := sha256.Sum256(dictionary1); hex.EncodeToString(sum[:]) != want {
		t.Errorf("the dictionary has the SHA-256 %x", sum)
	}
	for kept, value := range map[string]string{
		"02631500022c74656e616e742d30303031372293146035663063316636362d366433632d346630652d396435652d3015010431313efa133c392d32315431343a31333a32305a227d": `{"owner":"tenant-00017","uid":"5f0c1f66-6d3c-4f0e-9d5e-000000000011","time":"2026-09-21T14:13:20Z"}`,
		"0028b52ffd": "(\xb5/\xfd",
	} {
		raw, err := hex.DecodeString(kept)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Read(nil, raw); err != nil || string(got) != value {
			t.Errorf("%s is read as %q, %v; want %q", kept, got, err, value)
		}
	}
}

func TestNothingThatWasNotWrittenIsReadAtLength(t *testing.T) {
	bomb := AppendPortable(nil, bytes.Repeat([]byte{0}, MaxPlain))
	twice := encoder().EncodeAll(bytes.Repeat([]byte{0}, MaxPlain+1), []byte{zstdOwn})
	if _, err := Read(nil, bomb); err != nil {
		t.Errorf("the longest value: %v", err)
	}
	for name, kept := range map[string][]byte{
		"nothing": {}, "another encoding": {3, 1, 2}, "no frame": {zstdOwn}, "no block": {s2Dict1},
		"longer than is ever written":     twice,
		"says that it is 2 GiB":           {s2Dict1, 0xff, 0xff, 0xff, 0xff, 0x07, 0},
		"says that it is longer than all": {s2Dict1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0},
		"says more than it has":           {s2Dict1, 100, 0, 'a'},
		"a block above the limit":         append([]byte{s2Dict1}, s2.Encode(nil, make([]byte, MaxPlain+1))...),
	} {
		if got, err := Read(nil, kept); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}

func TestValuesThatDoNotBecomeShorterAreLeft(t *testing.T) {
	for name, value := range values() {
		if small := Value(value); small != nil && len(small) > len(value)/8*7+1 {
			t.Errorf("%s: %d bytes became %d", name, len(value), len(small))
		}
	}
	if Value(values()["noise"]) != nil || Value([]byte("www.example.com")) != nil || Value(make([]byte, MaxPlain+1)) != nil {
		t.Error("noise, what is short and what is too long is left as it is")
	}
}

// FuzzRead reads anything. What is read at all has a bounded length, and once kept again
// it is read as the same.
func FuzzRead(f *testing.F) {
	for _, e := range examples()[:3] {
		f.Add(Append(nil, e))
		f.Add(AppendPortable(nil, e))
	}
	f.Add([]byte{s2Dict1, 0x40, 0xf0, 0x00, 0x05})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, kept []byte) {
		value, err := Read(nil, kept)
		if err != nil {
			if !errors.Is(err, ErrDamaged) || value != nil {
				t.Fatalf("%d bytes, %v", len(value), err)
			}
			return
		}
		if value == nil || len(value) > MaxPlain {
			t.Fatalf("%d bytes of %d", len(value), len(kept))
		}
		for _, again := range [][]byte{Append(nil, value), AppendPortable(nil, value)} {
			if back, err := Read(make([]byte, 10), again); err != nil || !bytes.Equal(back, value) {
				t.Fatalf("%x is kept as %x and read as %x, %v", value, again, back, err)
			}
		}
	})
}

func BenchmarkValue(b *testing.B) {
	e := bytes.ReplaceAll(examples()[3], []byte("com"), []byte("customer-17.example"))
	for b.Loop() {
		Value(e)
	}
	b.ReportMetric(float64(len(e)), "plain-B")
	b.ReportMetric(float64(len(Value(e))), "kept-B")
}

func BenchmarkRead(b *testing.B) {
	kept := Value(bytes.ReplaceAll(examples()[3], []byte("com"), []byte("customer-17.example")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Read(nil, kept); err != nil {
			b.Fatal(err)
		}
	}
}
