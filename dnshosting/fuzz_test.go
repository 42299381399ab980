package dnshosting

import (
	"strings"
	"testing"
)

// FuzzRecognise: whatever names a zone's servers have, recognising them ends, depends neither on their
// order nor on case or final dot, and never takes a name for a provider's that lies
// outside that provider's own domains.
func FuzzRecognise(f *testing.F) {
	for _, seed := range []string{
		"ada.ns.cloudflare.com.\nbob.ns.cloudflare.com.",
		"ns-1.awsdns-00.com\nns-512.awsdns-01.net",
		"dns1.p07.nsone.net\nns01.squarespacedns.com",
		"[a-\n*.ns.cloudflare.com", "..\n.", "\\.ns.cloudflare.com", "a/b.ns.cloudflare.com", "\xff.he.net",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, lines string) {
		names := strings.Split(lines, "\n")
		got, ok := Recognise(names)
		if ok != (got.Name != "") {
			t.Fatalf("Recognise(%q) = %q, %t", names, got.Name, ok)
		}
		turned := make([]string, 0, len(names))
		for i := len(names) - 1; i >= 0; i-- {
			turned = append(turned, withoutDot(strings.ToLower(names[i])))
		}
		if again, _ := Recognise(turned); ok && again != got {
			t.Fatalf("Recognise(%q) = %q, but %q the other way round", names, got.Name, again.Name)
		}
		if !ok {
			return
		}
		for _, name := range turned {
			if strings.Count(name, ".") < 2 {
				t.Fatalf("%q was taken for a server of %s", name, got.Name)
			}
		}
	})
}
