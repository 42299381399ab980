package dnsprovider

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

const customerZone = `$TTL 60
@        IN SOA ns1.customer.test. hostmaster.customer.test. 5 3600 600 86400 30
@        IN NS  ns1
ns1      IN A   192.0.2.53
@        IN MX  10 mail
mail     IN A   192.0.2.25
WWW      IN A   192.0.2.80
two      IN CNAME shop
shop     IN CNAME shop.customer.test.cname.example.net.
gone     IN CNAME none.example.com.cname.example.net.
out      IN CNAME elsewhere.example.
loop1    IN CNAME loop2
loop2    IN CNAME LOOP1
self     IN CNAME self
_acme-challenge.shop IN CNAME _acme-challenge.shop.customer.test.cname.example.net.
a.ent    IN TXT "x"
*.wild   IN TXT "synthesized"
*.wild   IN A   192.0.2.99
here.wild IN A  192.0.2.98
*.cw     IN CNAME www
sub      IN NS  ns.sub
sub      IN NS  ns1
ns.sub   IN A   192.0.2.54
sub      IN DS  1 8 2 00000000000000000000000000000000000000000000000000000000000000AA
srv      IN SRV 0 0 443 www
chain0 CNAME chain1
chain1 CNAME chain2
chain2 CNAME chain3
chain3 CNAME chain4
chain4 CNAME chain5
chain5 CNAME chain6
chain6 CNAME chain7
chain7 CNAME chain8
chain8 CNAME chain9
chain9 A 192.0.2.9
`

func mustFile(t testing.TB, origin, text string) *ZoneFile {
	t.Helper()
	path := filepath.Join(t.TempDir(), origin+".zone")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := OpenZoneFile(origin, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const customerSOA = "\nauth customer.test. 30 IN SOA ns1.customer.test. hostmaster.customer.test. 5 3600 600 86400 30"

func TestZoneFileAnswers(t *testing.T) {
	a := mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil), mustFile(t, "customer.test", customerZone))
	referral := "\nauth sub.customer.test. 60 IN NS ns.sub.customer.test.\nauth sub.customer.test. 60 IN NS ns1.customer.test." +
		"\nadd ns.sub.customer.test. 60 IN A 192.0.2.54\nadd ns1.customer.test. 60 IN A 192.0.2.53"
	for _, tc := range []struct {
		name, owner string
		qtype       uint16
		want        string
	}{
		{"a name answers", "www.customer.test", dns.TypeA, "NOERROR aa\nwww.customer.test. 60 IN A 192.0.2.80"},
		{"another type is NODATA", "www.customer.test", dns.TypeAAAA, "NOERROR aa" + customerSOA},
		{"an absent name is NXDOMAIN", "nowhere.customer.test", dns.TypeA, "NXDOMAIN aa" + customerSOA},
		{"an empty non-terminal is NODATA", "ent.customer.test", dns.TypeA, "NOERROR aa" + customerSOA},
		{"above a wildcard is an empty non-terminal", "cw.customer.test", dns.TypeA, "NOERROR aa" + customerSOA},
		{"a wildcard answers with the question's name", "a.b.wild.customer.test", dns.TypeTXT,
			"NOERROR aa\na.b.wild.customer.test. 60 IN TXT \"synthesized\""},
		{"a name beside a wildcard hides it", "here.wild.customer.test", dns.TypeTXT, "NOERROR aa" + customerSOA},
		{"below a name beside a wildcard there is nothing", "x.here.wild.customer.test", dns.TypeA, "NXDOMAIN aa" + customerSOA},
		{"a wildcard of another type is NODATA", "x.wild.customer.test", dns.TypeMX, "NOERROR aa" + customerSOA},
		{"a wildcard CNAME is followed", "x.cw.customer.test", dns.TypeA,
			"NOERROR aa\nx.cw.customer.test. 60 IN CNAME www.customer.test.\nwww.customer.test. 60 IN A 192.0.2.80"},
		{"a CNAME into the operator's zone is followed", "two.customer.test", dns.TypeA,
			"NOERROR aa\ntwo.customer.test. 60 IN CNAME shop.customer.test.\nshop.customer.test. 60 IN CNAME shop.customer.test.cname.example.net." +
				"\nshop.customer.test.cname.example.net. 300 IN A 203.0.113.10"},
		{"a CNAME to nothing is NXDOMAIN with the CNAME", "gone.customer.test", dns.TypeA,
			"NXDOMAIN aa\ngone.customer.test. 60 IN CNAME none.example.com.cname.example.net." + negativeSOA},
		{"a CNAME to an empty challenge is NODATA with the CNAME", "_acme-challenge.shop.customer.test", dns.TypeTXT,
			"NOERROR aa\n_acme-challenge.shop.customer.test. 60 IN CNAME _acme-challenge.shop.customer.test.cname.example.net." + absentSOA},
		{"a CNAME itself is not followed", "two.customer.test", dns.TypeCNAME, "NOERROR aa\ntwo.customer.test. 60 IN CNAME shop.customer.test."},
		{"a CNAME out of the served zones is left to the resolver", "out.customer.test", dns.TypeA,
			"NOERROR aa\nout.customer.test. 60 IN CNAME elsewhere.example."},
		{"a loop ends where it closes", "loop1.customer.test", dns.TypeA,
			"NOERROR aa\nloop1.customer.test. 60 IN CNAME loop2.customer.test.\nloop2.customer.test. 60 IN CNAME LOOP1.customer.test."},
		{"a CNAME of itself is given once", "self.customer.test", dns.TypeA, "NOERROR aa\nself.customer.test. 60 IN CNAME self.customer.test."},
		{"a delegation is a referral with glue", "host.sub.customer.test", dns.TypeA, "NOERROR" + referral},
		{"the delegated name itself is a referral", "sub.customer.test", dns.TypeNS, "NOERROR" + referral},
		{"glue is no answer", "ns.sub.customer.test", dns.TypeA, "NOERROR" + referral},
		{"DS is answered above the cut", "sub.customer.test", dns.TypeDS,
			"NOERROR aa\nsub.customer.test. 60 IN DS 1 8 2 00000000000000000000000000000000000000000000000000000000000000AA"},
		{"ANY is RFC 8482's HINFO", "www.customer.test", dns.TypeANY, "NOERROR aa\nwww.customer.test. 3600 IN HINFO \"RFC8482\" \"\""},
		{"the zone's MX", "customer.test", dns.TypeMX, "NOERROR aa\ncustomer.test. 60 IN MX 10 mail.customer.test."},
		{"the zone's NS with its address", "customer.test", dns.TypeNS,
			"NOERROR aa\ncustomer.test. 60 IN NS ns1.customer.test.\nadd ns1.customer.test. 60 IN A 192.0.2.53"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := show(ask(t, a, question(t, tc.owner, tc.qtype), false))
			// Names in data may take the case of the question, as everywhere in DNS.
			if diff := cmp.Diff(strings.ToLower(tc.want), strings.ToLower(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
	if m := ask(t, a, question(t, "chain0.customer.test", dns.TypeA), true); len(m.Answer) != maxChain {
		t.Errorf("%d records of a chain of ten, want %d", len(m.Answer), maxChain)
	}
}

func TestNestedZones(t *testing.T) {
	parent := mustFile(t, "example.net", "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\n"+
		"cname NS ns1\nns1 A 203.0.113.10\ncname DS 1 8 2 00000000000000000000000000000000000000000000000000000000000000AA\n")
	a := mustAuthority(t, parent, mustZone(t, testConfig(), testRecords(), nil))
	if got := show(ask(t, a, question(t, testZone, dns.TypeSOA), false)); !strings.Contains(got, "aa\ncname.example.net. 3600 IN SOA") {
		t.Errorf("SOA of the child: %s", got)
	}
	if got := show(ask(t, a, question(t, testZone, dns.TypeDS), false)); !strings.Contains(got, "aa\ncname.example.net. 60 IN DS") {
		t.Errorf("DS from the parent: %s", got)
	}
	if got := show(ask(t, a, question(t, "other.example.net", dns.TypeA), false)); !strings.HasPrefix(got, "NXDOMAIN aa") {
		t.Errorf("another name of the parent: %s", got)
	}
}

func TestZoneFileErrors(t *testing.T) {
	head := "$TTL 60\n@ SOA ns hostmaster 1 2 3 4 60\n@ NS ns\nns A 192.0.2.1\n"
	for _, tc := range []struct{ name, text, want string }{
		{"a bad address", head + "www A 192.0.2\n", "customer.test.zone: dns: bad A A: \"192.0.2\" at line: 5:"},
		{"an unknown type", head + "www AX 192.0.2.1\n", "at line: 5:"},
		{"$INCLUDE", head + "$INCLUDE /etc/passwd\n", "$INCLUDE directive not allowed"},
		{"$INCLUDE has its mend", head + "$INCLUDE /etc/passwd\n", "write the records of that file here"},
		{"UTF-16", "\xff\xfe@\x00", "customer.test.zone:1: the file is in UTF-16: save it as UTF-8"},
		{"a name outside", head + "\nwww.example.com. A 192.0.2.1\n", "customer.test.zone:6: owner www.example.com. lies outside the zone customer.test"},
		{"a CNAME beside data", head + "www A 192.0.2.1\nwww CNAME ns\nx A 192.0.2.1\n", "customer.test.zone:6: www.customer.test. has a CNAME and other records"},
		{"data beside a CNAME", head + "www CNAME ns\nwww A 192.0.2.1", "customer.test.zone:6: www.customer.test. has a CNAME and other records"},
		{"two CNAMEs", head + "www CNAME ns\nwww CNAME x\n", "customer.test.zone:6: www.customer.test. has a second CNAME"},
		{"two SOAs", head + "@ SOA ns hostmaster 2 2 3 4 60\n", "customer.test.zone:5: customer.test. has a second SOA"},
		{"a SOA below", head + "x SOA ns hostmaster 2 2 3 4 60\n", "customer.test.zone:5: x.customer.test has a SOA"},
		{"DNAME", head + "x DNAME example.com.\n", "customer.test.zone:5: DNAME is not served"},
		{"a signed zone", head + "x NSEC ns A\n", "customer.test.zone:5: NSEC: signed zones"},
		{"another class", head + "x CH TXT y\n", "customer.test.zone:5: class CH"},
		{"no SOA", "@ 60 NS ns\n", "customer.test.zone:1: zone customer.test has no SOA"},
		{"no NS", "\n@ 60 SOA ns hostmaster 1 2 3 4 60\n", "customer.test.zone:2: zone customer.test has no NS"},
		{"an empty file", "", "has no SOA"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "customer.test.zone")
			if err := os.WriteFile(path, []byte(tc.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := OpenZoneFile("customer.test", path, nil)
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("error %v, want %q in it", err, tc.want)
			}
		})
	}
	if _, err := OpenZoneFile("customer.test", filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("no error for a file that is not there")
	}
}

func TestZoneFileReload(t *testing.T) {
	f := mustFile(t, "customer.test", customerZone)
	core, logs := observer.New(zap.InfoLevel)
	f.logger = zap.New(core)
	a := mustAuthority(t, f)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(f.Path(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	answer := func() string { return show(ask(t, a, question(t, "new.customer.test", dns.TypeA), false)) }
	logged := func(part string) func() bool {
		return func() bool {
			for _, e := range logs.All() {
				if strings.Contains(e.Message+" "+errorText(e), part) {
					return true
				}
			}
			return false
		}
	}

	start := time.Now()
	write(customerZone + "new A 192.0.2.44\n")
	eventually(t, "the new name answers", func() bool { return strings.Contains(answer(), "192.0.2.44") })
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	write(customerZone + "new A 192.0.2.4444\n")
	eventually(t, "the mistake is logged with its line", logged("at line: 36"))
	if !strings.Contains(answer(), "192.0.2.44") {
		t.Error("the broken file took the zone away")
	}
	if err := os.Remove(f.Path()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the missing file is logged", logged("cannot be seen"))
	if !strings.Contains(answer(), "192.0.2.44") {
		t.Error("the missing file took the zone away")
	}
	write(customerZone + "new A 192.0.2.55\n")
	eventually(t, "the mended file answers", func() bool { return strings.Contains(answer(), "192.0.2.55") })
}

func errorText(e observer.LoggedEntry) string {
	if err, ok := e.ContextMap()["error"].(string); ok {
		return err
	}
	return ""
}

func FuzzParseZone(f *testing.F) {
	f.Add(customerZone)
	f.Add("$TTL 1h\n$ORIGIN customer.test.\n@ SOA ns hostmaster (1 2\n 3 4 60)\n@ NS ns\nns A 192.0.2.1\n$GENERATE 1-3 h$ A 192.0.2.$\n")
	f.Add("@ 60 SOA . . 1 2 3 4 5\n@ 60 NS .\n\\042\\000 60 TXT \"\"\n* CNAME *\n")
	f.Fuzz(func(t *testing.T, text string) {
		z, err := parseZone(strings.NewReader(text), "customer.test", "fuzz.zone")
		if err != nil {
			if !strings.Contains(err.Error(), "fuzz.zone") {
				t.Fatalf("no file in %v", err)
			}
			return
		}
		file := &ZoneFile{origin: "customer.test", wire: []byte("\x08customer\x04test\x00")}
		file.zone.Store(z)
		a := mustAuthority(t, file)
		resp, asked := make([]byte, 0, maxPayload), 0
		for name := range z.nodes {
			if asked++; asked > 100 { // $GENERATE makes many alike
				break
			}
			for _, qtype := range []uint16{dns.TypeA, dns.TypeNS, dns.TypeSOA, dns.TypeANY} {
				req := append([]byte{0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, name...)
				out := a.Answer(append(req, 0, byte(qtype), 0, 1), resp, true)
				if err := new(dns.Msg).Unpack(out); err != nil {
					t.Fatalf("%q: %v", name, err)
				}
			}
		}
	})
}

// What editors and zone transfers make of a file is taken: a byte order mark, the SOA
// once more at the end, records that stand there twice.
func TestZoneFileOfEditorsAndTransfers(t *testing.T) {
	soa := "customer.test. 60 IN SOA ns.customer.test. hostmaster.customer.test. 1 2 3 4 60\n"
	text := "\xef\xbb\xbf; <<>> DiG 9.18 <<>> AXFR customer.test\n" + soa + "customer.test. 60 IN NS ns.customer.test.\n" +
		"ns.customer.test. 60 IN A 192.0.2.1\nns.customer.test. 30 IN A 192.0.2.1\n" +
		"www.customer.test. 60 IN CNAME ns.customer.test.\nWWW.customer.test. 60 IN CNAME NS.customer.test.\n" +
		`x.customer.test. 60 IN TXT "a"` + "\n" + `x.customer.test. 60 IN TXT "A"` + "\n" + soa
	path := filepath.Join(t.TempDir(), "customer.test.zone")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	core, logs := observer.New(zap.InfoLevel)
	f, err := OpenZoneFile("customer.test", path, zap.New(core))
	if err != nil {
		t.Fatal(err)
	}
	a := mustAuthority(t, f)
	if got := show(ask(t, a, question(t, "www.customer.test", dns.TypeA), false)); strings.Count(got, "192.0.2.1") != 1 || !strings.Contains(got, " 30 IN A ") {
		t.Errorf("got %s", got)
	}
	if got := show(ask(t, a, question(t, "x.customer.test", dns.TypeTXT), false)); strings.Count(got, "TXT") != 2 {
		t.Errorf("values that differ in case are one: %s", got)
	}
	var lines []any
	for _, e := range logs.FilterMessageSnippet("twice").All() {
		lines = append(lines, e.ContextMap()["line"])
	}
	if len(lines) != 2 || lines[0] != int64(5) || lines[1] != int64(7) {
		t.Errorf("duplicates are told at lines %v, want 5 and 7", lines)
	}
}

// Names are equal without the case of ASCII letters, and of nothing else (RFC 4343).
func TestZoneFileTellsNamesOfOtherOctetsApart(t *testing.T) {
	f := mustFile(t, "customer.test", "@ SOA ns h 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"+
		"p PTR \\200x.example.\np PTR \\201X.example.\np PTR \\201x.EXAMPLE.\n")
	got := show(ask(t, mustAuthority(t, f), question(t, "p.customer.test", dns.TypePTR), false))
	if strings.Count(got, " PTR ") != 2 || !strings.Contains(got, "\\200x") || !strings.Contains(got, "\\201X") {
		t.Errorf("got %s", got)
	}
}

// A change is served although size and time are as before.
func TestZoneFileChangesThatKeepSizeAndTime(t *testing.T) {
	dir := t.TempDir()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	put := func(name, addr string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(customerZone+"new A "+addr+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		return path
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(dir, "link")
	must(os.Symlink(put("first", "192.0.2.11"), link))
	f, err := OpenZoneFile("customer.test", link, nil)
	must(err)
	a := mustAuthority(t, f)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	defer func() { cancel(); <-done }()
	served := func(how, addr string) {
		t.Helper()
		eventually(t, how+" is served", func() bool {
			return strings.Contains(show(ask(t, a, question(t, "new.customer.test", dns.TypeA), false)), addr)
		})
	}
	served("the first file", "192.0.2.11")
	put("first", "192.0.2.12")
	served("a write in place", "192.0.2.12")
	must(os.Rename(put("renamed", "192.0.2.13"), filepath.Join(dir, "first")))
	served("a file renamed into place", "192.0.2.13")
	must(os.Symlink(put("second", "192.0.2.14"), link+".new"))
	must(os.Rename(link+".new", link))
	served("a link that was switched", "192.0.2.14")
}
