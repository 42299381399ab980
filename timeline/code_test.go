package timeline

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// life is that of a record for which all went as it should.
func life() Line {
	l := Line{Hostname: "shop.customer-0123456.example", Created: t0}
	for _, e := range []Event{
		changed(40*time.Second, "ACMEChallengeDelegationReady", "False", "True", "ACMEChallengeDelegationConfigured"),
		changed(40*time.Second, "Phase", "Pending", "Issuing", ""),
		{At: after(43 * time.Second), Type: "Certificate", Reason: "CertificateIssued"},
		changed(43*time.Second, "OwnershipVerified", "False", "True", "TLSCertificateIssued"),
		changed(43*time.Second, "TLSReady", "False", "True", "CertificateIssued"),
		changed(43*time.Second, "Phase", "Issuing", "Active", ""),
		changed(26*time.Hour, "CNAMEConfigured", "False", "True", "CNAMEConfigured"),
		{At: after(60 * 24 * time.Hour), Type: "Certificate", Reason: "CertificateIssued"},
	} {
		l.Add(e)
	}
	return l
}

func TestALineIsReadAsItWasWritten(t *testing.T) {
	odd := life()
	odd.Add(failure(30*time.Minute, "urn:ietf:params:acme:error:connection: no answer"))
	odd.Add(failure(40*time.Minute, "urn:ietf:params:acme:error:connection: no answer"))
	odd.Add(Event{At: after(-time.Hour), Type: "SomethingNew", From: "here", To: "there", Reason: "OfAnotherVersion", Message: "Früher."})
	for name, l := range map[string]Line{"empty": {}, "a life": life(), "an odd one": odd} {
		got, err := decode(encode(&l))
		if err != nil || !reflect.DeepEqual(got, l) {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, l)
		}
	}
}

// What once was written is read for ever.
func TestALineOfTheFirstVersionIsRead(t *testing.T) {
	file := filepath.Join("testdata", "life1")
	l := life()
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) && os.Getenv("WRITE_TESTDATA") != "" {
		if err := os.WriteFile(file, encode(&l), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	value, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := decode(value); err != nil || !reflect.DeepEqual(got, l) {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestWhatIsNoLineIsRefused(t *testing.T) {
	l := life()
	whole := encode(&l)
	for name, tt := range map[string]struct {
		value []byte
		want  error
	}{
		"nothing":            {nil, errBroken},
		"JSON":               {[]byte(`{}`), ErrNewer},
		"too long":           {bytes.Repeat([]byte{version}, maxValue+1), errBroken},
		"a later version":    {append([]byte{2}, whole[1:]...), ErrNewer},
		"cut off":            {whole[:len(whole)-1], errBroken},
		"a field of later":   {append(bytes.Clone(whole), 0x20, 0, 1), ErrNewer},
		"a word of later":    {append(bytes.Clone(whole), 0, 0, 0x7f), ErrNewer},
		"an event of no one": {append(bytes.Clone(whole), 0, 0, 0, 0), errBroken},
		"a long text":        {[]byte{version, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, errBroken},
		"a time before 1970": {[]byte{version, 0, 0, 0, 1, 1}, errBroken},
	} {
		if _, err := decode(tt.value); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", name, err, tt.want)
		}
		if err := Check(Prefix+"uid", tt.value); err == nil {
			t.Errorf("%s: Check finds nothing", name)
		}
	}
	if err := Check(Prefix+"uid", whole); err != nil {
		t.Error(err)
	}
	if err := Check(Prefix, whole); err == nil {
		t.Error("a key without a uid is taken")
	}
}

func TestWordsOfConditionsAreShort(t *testing.T) {
	for _, of := range v1alpha3.ConditionTypes() {
		if places[of] == 0 {
			t.Errorf("the condition %s is no known word: add it at the end of known", of)
		}
	}
	if len(places) != len(known) {
		t.Error("a known word stands twice")
	}
}

// A million records have one each: see docs/operations.md.
func TestALifeTakesFewBytes(t *testing.T) {
	l := life()
	size := len(encode(&l))
	if most := 110; size > most {
		t.Errorf("a record's life takes %d bytes, want %d at most", size, most)
	}
	t.Logf("a record's life takes %d bytes", size)
}

func FuzzDecode(f *testing.F) {
	l := life()
	l.Add(failure(time.Hour, strings.Repeat("x", 300)))
	l.Add(failure(2*time.Hour, "y"))
	f.Add(encode(&l))
	f.Add([]byte{version, 0, 0})
	f.Add([]byte{version, 0, 0, 16, 0, 1, 2, 3})
	f.Fuzz(func(t *testing.T, value []byte) {
		l, err := decode(value)
		if err != nil {
			return
		}
		if len(l.Events) > maxEvents {
			t.Fatalf("%d events", len(l.Events))
		}
		again, err := decode(encode(&l))
		if err != nil || !reflect.DeepEqual(again, l) {
			t.Fatalf("%+v is read as %+v, %v", l, again, err)
		}
		l.Add(failure(0, "one more"))
		if len(l.Events) > Most {
			t.Fatalf("%d events", len(l.Events))
		}
		if _, err := decode(encode(&l)); err != nil {
			t.Fatal(err)
		}
	})
}
