package dnsprovider

import (
	"strings"
	"testing"

	"github.com/miekg/dns"
)

// What is published comes into a zone that is there already, at its name alone, and
// nobody else can put anything there.
func TestTexts(t *testing.T) {
	texts, err := NewTexts("_DCPubKeyV1")
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	c.Texts = texts
	z := mustZone(t, c, testRecords(), nil)
	a := mustAuthority(t, z)
	const name = "_dcpubkeyv1." + testZone + "."
	if m := ask(t, a, question(t, name, dns.TypeTXT), false); m.Rcode != dns.RcodeNameError {
		t.Errorf("before anything is published: %v", m)
	}
	first, second := "p=1,a=RS256,d="+strings.Repeat("A", 241), "p=2,a=RS256,d=B"
	if err := texts.Set([]string{first, second}); err != nil {
		t.Fatal(err)
	}
	m := ask(t, a, question(t, name, dns.TypeTXT), false)
	if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 2 {
		t.Fatalf("%v", m)
	}
	for i, want := range []string{first, second} {
		if txt := m.Answer[i].(*dns.TXT).Txt; len(txt) != 1 || txt[0] != want {
			t.Errorf("record %d is %q", i, txt)
		}
	}
	if m := ask(t, a, question(t, name, dns.TypeA), false); m.Rcode != dns.RcodeSuccess || len(m.Answer) > 0 {
		t.Errorf("another type: %v", m)
	}
	if m := ask(t, a, question(t, "x."+name, dns.TypeTXT), false); m.Rcode != dns.RcodeNameError {
		t.Errorf("a name below: %v", m)
	}
	if err := z.reserved("_dcpubkeyv1"); err == nil {
		t.Error("others can put something there")
	}
	for _, wrong := range [][]string{nil, {""}, {strings.Repeat("A", 256)}} {
		if err := texts.Set(wrong); err == nil {
			t.Errorf("%.20q is taken", wrong)
		}
	}
	for _, label := range []string{"", "a.b", "host", "_a b"} {
		if _, err := NewTexts(label); err == nil {
			t.Errorf("the label %q is taken", label)
		}
	}
}
