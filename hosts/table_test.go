package hosts

import (
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func tableOf(hostnames ...string) *Table {
	t := New()
	for _, hostname := range hostnames {
		t.Set(Make(Values{Hostname: hostname, Name: hostname}))
	}
	return t
}

func TestMatch(t *testing.T) {
	table := tableOf("api.example.com", "*.example.com", "*.deep.example.com", "plain.test")
	for name, c := range map[string]struct{ ask, want string }{
		"an exact hostname is found":                       {"api.example.com", "api.example.com"},
		"one label below a wildcard is found":              {"www.example.com", "*.example.com"},
		"the exact hostname goes before the wildcard":      {"api.example.com", "api.example.com"},
		"the bare name is not the wildcard's":              {"example.com", ""},
		"two labels below a wildcard are not":              {"a.b.example.com", ""},
		"a deeper wildcard answers for its own":            {"a.deep.example.com", "*.deep.example.com"},
		"a name of a wildcard's parent is the outer one's": {"deep.example.com", "*.example.com"},
		"a name without a record is unknown":               {"other.test", ""},
		"below a record without wildcard is unknown":       {"a.plain.test", ""},
		"the empty name is unknown":                        {"", ""},
		"an empty first label matches no wildcard":         {".example.com", ""},
		"a single label is unknown":                        {"com", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			if h, ok := table.Match(c.ask); ok {
				got = h.Hostname
			}
			if got != c.want {
				t.Errorf("Match(%q) = %q, want %q", c.ask, got, c.want)
			}
		})
	}
}

// An unproven record changes nothing for a proven one, and a proven one takes over.
func TestMatchGoesByProof(t *testing.T) {
	const exact, wild = "api.example.com", "*.example.com"
	for _, c := range []struct {
		exact, wild bool
		want        string
	}{
		{false, false, exact}, {false, true, wild}, {true, false, exact}, {true, true, exact},
	} {
		table := New()
		table.Set(&Host{Hostname: exact, Verified: c.exact})
		table.Set(&Host{Hostname: wild, Verified: c.wild})
		if h, ok := table.Match(exact); !ok || h.Hostname != c.want {
			t.Errorf("exact verified %v, wildcard verified %v: %+v answers, want %s", c.exact, c.wild, h, c.want)
		}
		if h, ok := table.Match("other.example.com"); !ok || h.Hostname != wild {
			t.Errorf("the wildcard does not answer for its other names: %+v", h)
		}
		table.Delete(exact)
		if h, ok := table.Match(exact); !ok || h.Hostname != wild {
			t.Errorf("the wildcard does not answer once the exact record is gone: %+v", h)
		}
	}
}

func TestCandidatesAreWhatMatchChoosesFrom(t *testing.T) {
	table := tableOf("api.example.com", "*.example.com", "*.deep.example.com", "plain.test")
	for ask, want := range map[string][2]string{
		"api.example.com": {"api.example.com", "*.example.com"}, "www.example.com": {"", "*.example.com"},
		"*.example.com": {"*.example.com", ""}, "*.deep.example.com": {"*.deep.example.com", ""},
		"deep.example.com": {"", "*.example.com"}, "plain.test": {"plain.test", ""}, "a.b.example.com": {},
		"example.com": {}, "": {}, ".example.com": {}, "com": {},
	} {
		var got [2]string
		own, wild := table.Candidates(ask)
		for i, h := range []*Host{own, wild} {
			if h != nil {
				got[i] = h.Hostname
			}
		}
		if got != want {
			t.Errorf("Candidates(%q) = %q, want %q", ask, got, want)
		}
	}
}

func TestGetIsExact(t *testing.T) {
	table := tableOf("api.example.com", "*.example.com")
	for ask, want := range map[string]bool{
		"api.example.com": true, "*.example.com": true, "www.example.com": false,
		"example.com": false, "*.api.example.com": false, "*": false, "*.": false,
	} {
		if _, ok := table.Get(ask); ok != want {
			t.Errorf("Get(%q) = %v, want %v", ask, ok, want)
		}
		if _, ok := table.GetBytes([]byte(ask)); ok != want {
			t.Errorf("GetBytes(%q) = %v, want %v", ask, ok, want)
		}
	}
}

func TestHasBelow(t *testing.T) {
	table := tableOf("a.b.example.com", "c.example.com", "*.wild.test", "api.wild.test")
	check := func(want map[string]bool) {
		t.Helper()
		for name, below := range want {
			if got := table.HasBelow([]byte(name)); got != below {
				t.Errorf("HasBelow(%q) = %v, want %v", name, got, below)
			}
		}
	}
	check(map[string]bool{
		"a.b.example.com": false, "b.example.com": true, "example.com": true, "com": true,
		"wild.test": true, "test": true, "": false, "*.wild.test": false,
	})
	table.Set(&Host{Hostname: "a.b.example.com"}) // again: counted once
	table.Delete("a.b.example.com")
	table.Delete("a.b.example.com")
	table.Delete("*.wild.test")
	check(map[string]bool{"b.example.com": false, "example.com": true, "com": true, "wild.test": true, "test": true})
	table.Delete("c.example.com")
	table.Delete("api.wild.test")
	check(map[string]bool{"example.com": false, "com": false, "wild.test": false, "test": false})
	for i := range table.shards {
		if n := len(table.shards[i].below); n != 0 {
			t.Fatalf("%d counts are left in an empty table", n)
		}
	}
}

func TestAllAndLen(t *testing.T) {
	table := tableOf("a.test", "b.test", "*.a.test")
	table.Set(&Host{Hostname: "a.test", Revision: 2})
	var got []string
	for h := range table.All() {
		got = append(got, fmt.Sprint(h.Hostname, h.Revision))
		table.Delete(h.Hostname) // allowed within the loop
	}
	slices.Sort(got)
	if want := []string{"*.a.test0", "a.test2", "b.test0"}; !slices.Equal(got, want) {
		t.Errorf("All yielded %v, want %v", got, want)
	}
	if table.Len() != 0 {
		t.Errorf("Len = %d after everything was deleted", table.Len())
	}
}

func TestLookupsDoNotAllocate(t *testing.T) {
	table := tableOf("api.example.com", "*.example.com")
	exact, wild, unknown := "api.example.com", "www.example.com", "www.unknown.example.org"
	exactBytes, zone := []byte(exact), []byte("example.com")
	var sink bool
	n := testing.AllocsPerRun(1000, func() {
		for _, name := range [...]string{exact, wild, unknown} {
			h, ok := table.Match(name)
			sink = ok && h.Verified
			_, sink = table.Get(name)
		}
		_, sink = table.Get("*.example.com")
		_, sink = table.GetBytes(exactBytes)
		sink = table.HasBelow(zone)
	})
	_ = sink
	if n != 0 {
		t.Errorf("look-ups allocate %v times", n)
	}
}

func TestTableUnderConcurrentUse(t *testing.T) {
	table := New()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				hostname := fmt.Sprintf("h%d.zone%d.example.com", i, w)
				table.Set(&Host{Hostname: hostname, Conditions: Conditions(0).with(v1alpha3.ConditionReady, "True")})
				table.Match(hostname)
				for range table.All() {
					break
				}
				if i%2 == 0 {
					table.Delete(hostname)
				}
			}
		})
	}
	wg.Wait()
	if table.Len() != 1000 || table.Count(v1alpha3.ConditionReady, "True") != 1000 {
		t.Errorf("Len = %d, Ready = %d, want 1000 each", table.Len(), table.Count(v1alpha3.ConditionReady, "True"))
	}
	if !table.HasBelow([]byte("zone3.example.com")) || !table.HasBelow([]byte("example.com")) {
		t.Error("names above the remaining hosts are not known")
	}
}

// BenchmarkPermission asks for names of their own, for names that only a
// wildcard covers, and for unproven names that a proven wildcard covers.
func BenchmarkPermission(b *testing.B) {
	const records = 100_000
	table := New()
	var exact, covered, unproven []string
	for i := range records / 10 {
		domain := fmt.Sprintf("customer-%05d.example.com", i)
		table.Set(Make(Values{Hostname: "*." + domain, Name: domain, Verified: true, Phase: v1alpha3.PhaseActive}))
		covered = append(covered, "any."+domain)
		for j := range 9 {
			name := fmt.Sprintf("app-%d.%s", j, domain)
			table.Set(Make(Values{Hostname: name, Name: name, Verified: j != 0, Phase: v1alpha3.PhaseActive}))
			if j == 0 {
				unproven = append(unproven, name)
			} else {
				exact = append(exact, name)
			}
		}
	}
	for _, c := range []struct {
		kind  string
		names []string
	}{{"exact", exact}, {"wildcard", covered}, {"unproven", unproven}} {
		b.Run(c.kind, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i = (i + 7919) % len(c.names)
				if h, ok := table.Match(c.names[i]); !ok || !h.Verified {
					b.Fatalf("%s is not allowed", c.names[i])
				}
			}
		})
	}
}

func BenchmarkSet(b *testing.B) {
	table := New()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		table.Set(&Host{Hostname: fmt.Sprintf("app-%07d.example.com", i%1_000_000)})
		i++
	}
}
