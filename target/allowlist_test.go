package target

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
)

func allowing(t testing.TB, entries ...string) *AllowList {
	t.Helper()
	l, err := ParseAllowList(entries)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// What a record may name: the whole of what stands between an annotation and the
// operator's insides, as it is written.
func TestABackendIsAllowedIfItIsListed(t *testing.T) {
	l := allowing(t, "10.0.0.0/8", "[fd00::/8]:8080", "192.0.2.7", "127.0.0.0/8:8081", "*.svc.internal", "api.internal:9000", "*.bücher.example")
	for _, c := range []struct{ backend, want string }{
		{"10.0.0.5:8080", "10.0.0.5:8080"},
		{"10.0.0.5", "10.0.0.5:80"},
		{"[fd00::5]:8080", "[fd00::5]:8080"},
		{"[::ffff:10.0.0.5]:8080", "10.0.0.5:8080"},
		{"192.0.2.7:1", "192.0.2.7:1"},
		{"127.0.0.1:8081", "127.0.0.1:8081"},
		{"app.svc.internal:8080", "app.svc.internal:8080"},
		{"a.b.svc.internal", "a.b.svc.internal:80"},
		{"APP.Svc.Internal.:8080", "app.svc.internal:8080"},
		{"my_app.svc.internal", "my_app.svc.internal:80"},
		{"api.internal:9000", "api.internal:9000"},
		{"a.Bücher.example", "a.xn--bcher-kva.example:80"},
		{"a.xn--bcher-kva.example", "a.xn--bcher-kva.example:80"},

		{"127.0.0.1:2019", ""},     // the admin endpoint
		{"localhost:2019", ""},     //
		{"169.254.169.254:80", ""}, // a cloud's metadata
		{"[::1]:2019", ""},         //
		{"[::]:2019", ""},          //
		{"0.0.0.0:8081", ""},       // leads to loopback on Linux
		{"[::ffff:127.0.0.1]:80", ""},
		{"[::ffff:169.254.169.254]:80", ""},
		{"[64:ff9b::7f00:1]:2019", ""}, // loopback through NAT64
		{"192.0.2.8:80", ""},
		{"[fd00::5]:8081", ""}, // the port
		{"api.internal:80", ""},
		{"[fe80::1%eth0]:80", ""}, // zones
		{"fd00::5%eth0", ""},
		{"[10.0.0.5%lo]:80", ""},
		{"svc.internal:80", ""}, // not below itself
		{"xsvc.internal:80", ""},
		{".svc.internal:80", ""},
		{"svc.internal.example.com:80", ""},
		{"a..svc.internal:80", ""},
		{"-a.svc.internal", ""},
		{"unix//run/docker.sock", ""}, // other networks, schemes, forms
		{"unix+h2c//run/docker.sock", ""},
		{"unix/@abstract", ""},
		{"fd/3", ""},
		{"tcp/10.0.0.5:80", ""},
		{"udp/10.0.0.5:80", ""},
		{"srv+http://_x._tcp.svc.internal", ""},
		{"http://10.0.0.5:80", ""},
		{"https://app.svc.internal", ""},
		{"//10.0.0.5:80", ""},
		{"user@10.0.0.5:80", ""},
		{"10.0.0.5:80/admin", ""},
		{"10.0.0.5:80#x", ""},
		{"10.0.0.5:80-90", ""}, // ports
		{"10.0.0.5:0", ""},
		{"10.0.0.5:65536", ""},
		{"10.0.0.5:+80", ""},
		{"10.0.0.5:080", ""},
		{"10.0.0.5:http", ""},
		{"10.0.0.5:", ""},
		{":80", ""},
		{"10.0.5:80", ""}, // what resolvers take for addresses
		{"0x7f.1:8081", ""},
		{"2130706433:8081", ""},
		{"0177.0.0.1:8081", ""},
		{"1.svc.internal.0x7f", ""},
		{"10.0.0.5:80 10.0.0.6:80", ""}, // further ones
		{"10.0.0.5:80\r\nX: y", ""},
		{" 10.0.0.5", ""},
		{"{env.HOME}.svc.internal", ""}, // no placeholder in a value
		{"*.svc.internal:80", ""},
		{"a\x00.svc.internal:80", ""},
		{"ａｐｐ．ｓｖｃ．ｉｎｔｅｒｎａｌ．evil.example", ""},
		{strings.Repeat("a.", 130) + "svc.internal", ""},
		{strings.Repeat("ü", 5000) + ".svc.internal", ""},
		{"", ""},
	} {
		b, err := l.Check(c.backend, 80)
		switch {
		case c.want == "" && !errors.Is(err, ErrNoBackend):
			t.Errorf("%.60q is let through as %q, %v", c.backend, b, err)
		case c.want == "" && !strings.Contains(err.Error(), "expected a host and a port") && !strings.Contains(err.Error(), "not among the allowed upstreams (10.0.0.0/8 "):
			t.Errorf("%.60q: the error is %q", c.backend, err)
		case c.want != "" && (err != nil || b.String() != c.want):
			t.Errorf("%.60q is %q, %v, want %q", c.backend, b, err, c.want)
		}
	}
}

// What a listed name leads to must be public or listed, too: names are the customer's
// to point anywhere.
func TestAnAddressOfANameIsAllowedIfItIsPublicOrListed(t *testing.T) {
	l := allowing(t, "10.1.0.0/16:8080", "0.0.0.0/0", "*.svc.internal")
	for address, want := range map[string]bool{
		"93.184.216.34:80":          true,
		"[2606:4700::1]:443":        true,
		"10.1.2.3:8080":             true,
		"[::ffff:10.1.2.3]:8080":    true,
		"10.1.2.3:22":               false,
		"10.2.0.1:8080":             false, // 0.0.0.0/0 is wider than its block
		"127.0.0.1:8080":            false,
		"[::1]:8080":                false,
		"0.0.0.0:8080":              false,
		"[::]:8080":                 false,
		"169.254.169.254:80":        false,
		"100.100.100.200:80":        false, // another cloud's metadata
		"[fd00:ec2::254]:80":        false,
		"192.168.1.1:80":            false,
		"224.0.0.1:80":              false,
		"255.255.255.255:80":        false,
		"[::ffff:127.0.0.1]:80":     false,
		"[64:ff9b::a9fe:a9fe]:80":   false,
		"[2002:7f00:1::1]:80":       false,
		"[fe80::1%eth0]:80":         false,
		"[2606:4700::1%eth0]:80":    false,
		"[2001:0:7f00:1::1]:80":     false,
		"[64:ff9b:1::7f00:1]:80":    false,
		"[64:ff9b::5db8:d822]:8080": true,
	} {
		err := l.CheckAddr("app.svc.internal", netip.MustParseAddrPort(address))
		if got := err == nil; got != want {
			t.Errorf("%s: allowed is %v (%v), want %v", address, got, err, want)
		}
		if err != nil && (!errors.Is(err, ErrNoBackend) || !strings.Contains(err.Error(), "app.svc.internal leads to "+address)) {
			t.Errorf("%s: the error is %q", address, err)
		}
	}
}

func TestAListThatCannotBeMeantIsRefused(t *testing.T) {
	for entry, says := range map[string]string{
		"127.0.0.1":           "127.0.0.1/32:8080",
		"127.0.0.0/8":         "admin endpoint",
		"::1":                 "[::1/128]:8080",
		"0.0.0.0/8":           "no backend has such an address",
		"0.0.0.0:80":          "no backend has such an address",
		"::":                  "no backend has such an address",
		"224.0.0.0/8":         "multicast",
		"10.0.0.1/8":          "write 10.0.0.0/8",
		"10.0.0.0/33":         "expected a network",
		"10.0.0.0/8:0":        "the port",
		"10.0.0.0/8:http":     "the port",
		"[fd00::/8:80":        "bracket",
		"*":                   "expected a network",
		"*.":                  "expected a network",
		"a.*.internal":        "expected a network",
		"*.*.internal":        "expected a network",
		"*svc.internal":       "expected a network",
		"":                    "expected a network",
		"http://10.0.0.1":     "the port",
		"unix//run/x.sock":    "expected a network",
		"fe80::1%eth0":        "the port",
		"::ffff:10.0.0.0/104": "",
	} {
		_, err := ParseAllowList([]string{entry})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want an error with %q", entry, err, says)
		}
	}
	if _, err := ParseAllowList(nil); err == nil {
		t.Error("an empty list is taken")
	}
	if _, err := ParseAllowList(make([]string, maxEntries+1)); err == nil {
		t.Error("a list without end is taken")
	}
}

// FuzzABackendThatIsAllowed: whatever is let through is a name that is listed or an address in a listed network,
// and stays what it is when it is read again, as the dial guard does.
func FuzzABackendThatIsAllowed(f *testing.F) {
	for _, s := range []string{"10.0.0.5:8080", "[fd00::1]:80", "a.svc.internal.", "Ａ.svc.internal", "127.1", "unix//x", "[::ffff:7f00:1]:2019"} {
		f.Add(s)
	}
	l := allowing(f, "10.0.0.0/8", "fd00::/8", "*.svc.internal")
	private, unique := netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := l.Check(s, 80)
		if err != nil {
			return
		}
		if b.Port == 0 || b.Addr.IsValid() == (b.Name != "") {
			t.Errorf("%q is %+v", s, b)
		}
		if b.Addr.IsValid() && !private.Contains(b.Addr) && !unique.Contains(b.Addr) {
			t.Errorf("%q is %s", s, b)
		}
		if b.Name != "" && (!strings.HasSuffix(b.Name, ".svc.internal") || strings.ContainsAny(b.Name, "/:@%{}[] ")) {
			t.Errorf("%q is %s", s, b)
		}
		if again, err := l.Check(b.String(), 1); err != nil || again != b {
			t.Errorf("%q is %s, and that %s, %v", s, b, again, err)
		}
	})
}
