package hosts

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// valuesOf is what a Host says of itself, through everything that its readers use.
func valuesOf(h *Host) Values {
	return Values{
		Hostname: h.Hostname, Name: h.Name(), UID: h.UID(), TTL: h.TTL, TLS: h.TLS, Verified: h.Verified,
		TLSReady: h.TLSReady, CNAMEConfigured: h.CNAMEConfigured, Ready: h.Ready, CAAForbids: h.CAAForbids,
		Conditions: h.Conditions, Reasons: h.reasons, Phase: h.Phase(), Revision: h.Revision, Target: h.Target(), Redirect: h.Redirect(),
		Labels: h.Labels(), Annotations: h.Annotations(),
	}
}

func TestAHostKeepsItsValues(t *testing.T) {
	long := "a-name-that-is-longer-than-what-a-host-has-room-for." + "example.com"
	for is, v := range map[string]Values{
		"all of the usual": {Hostname: "api.example.com", Name: "api.example.com", UID: "5f0c1f66-6d3c-4f0e-9d5e-0123456789ab", TTL: 60,
			TLS: true, Verified: true, TLSReady: true, CNAMEConfigured: true, Ready: true, CAAForbids: true, Conditions: 5, Revision: 9,
			Phase: v1alpha3.PhaseActive, Target: v1alpha3.TargetKey{Group: "g", Kind: "Proxy", Name: "n"},
			Labels: map[string]string{v1alpha3.OwnerLabel: "o", "plan": "", "": "x"}, Annotations: map[string]string{"note": long + long + long}},
		"a name of its own and an odd uid": {Hostname: long, Name: "n", UID: "uid", Phase: v1alpha3.PhaseDetached},
		"an odd phase":                     {Hostname: "a.test", Name: "a.test", Phase: "Odd"},
		"a redirect":                       {Hostname: "*.test", Name: "w", Phase: v1alpha3.PhaseIssuing, Redirect: &v1alpha3.TargetRedirect{Port: new(int32(1))}},
		"annotations alone":                {Hostname: "a.test", Name: "a.test", Phase: v1alpha3.PhasePending, Annotations: map[string]string{"a": "b"}},
		"a UUID in capitals":               {Hostname: "a.test", Name: "a.test", Phase: v1alpha3.PhasePending, UID: "5F0C1F66-6D3C-4F0E-9D5E-0123456789AB"},
		"a UUID without hyphens":           {Hostname: "a.test", Name: "a.test", Phase: v1alpha3.PhasePending, UID: "5f0c1f666d3c4f0e9d5e0123456789ab0000"},
		"the UUID of zeros":                {Hostname: "a.test", Name: "a.test", Phase: v1alpha3.PhasePending, UID: uuid.Nil.String()},
	} {
		h := Make(v)
		if d := cmp.Diff(v, valuesOf(h)); d != "" {
			t.Errorf("%s (-given +told):\n%s", is, d)
		}
		if !h.IsUID(v.UID) || h.IsUID(v.UID+"0") || v.UID != "" && h.IsUID("") {
			t.Errorf("%s: its uid is not told from others", is)
		}
		for key, want := range v.Labels {
			if got, ok := h.Label(key); !ok || got != want {
				t.Errorf("%s: label %q is %q, %v", is, key, got, ok)
			}
			if _, ok := h.Annotation(key); ok && v.Annotations[key] == "" {
				t.Errorf("%s: label %q is an annotation", is, key)
			}
		}
		if h.Owner() != v.Labels[v1alpha3.OwnerLabel] {
			t.Errorf("%s: its owner is %q", is, h.Owner())
		}
	}
	if h := Make(Values{Hostname: "a.test"}); h.Name() != "a.test" || h.UID() != "" || h.Phase() != v1alpha3.PhasePending || h.Labels() != nil {
		t.Errorf("a bare host is %+v", valuesOf(h))
	}
	if h := new(Host); h.Target() != (v1alpha3.TargetKey{}) || h.Redirect() != nil || h.Owner() != "" {
		t.Error("the zero Host has values")
	}
}

// Readers do not allocate for what they read on every request.
func TestReadingAHostDoesNotAllocate(t *testing.T) {
	h := FromRecord(full(), 1)
	uid := string(full().UID)
	var sink string
	if n := testing.AllocsPerRun(100, func() {
		sink, _ = h.Label("plan")
		sink, _ = h.Annotation("note")
		sink = h.Owner() + ""
		sink = h.Target().Kind + ""
		sink = h.Name() + ""
		h.IsUID(uid)
		_ = h.Phase()
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	_ = sink
}

// The marks in a table are those of its hosts, each once, whatever comes and goes.
func TestMarksAreSharedAndLetGo(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	table, want := New(), map[string]Values{}
	for range 20_000 {
		hostname := string(rune('a'+random.IntN(26))) + ".test"
		if random.IntN(3) == 0 {
			table.Delete(hostname)
			delete(want, hostname)
			continue
		}
		v := Values{Hostname: hostname, Name: hostname, Phase: v1alpha3.PhasePending}
		if n := random.IntN(6); n > 0 {
			v.Labels = map[string]string{v1alpha3.OwnerLabel: string(rune('0' + n))}
		}
		h := Make(v)
		table.Set(h)
		if random.IntN(4) == 0 {
			table.Set(h) // again: used once
		}
		want[hostname] = v
	}
	uses := map[string]int32{}
	for hostname, v := range want {
		h, ok := table.Get(hostname)
		if !ok || !cmp.Equal(valuesOf(h), v) {
			t.Fatalf("%s is %+v, want %+v", hostname, h, v)
		}
		if h.marks != nil {
			if table.known([]byte(h.marks.text)) != h.marks {
				t.Fatalf("the marks of %s are not those that others share", hostname)
			}
			uses[h.marks.text]++
		}
	}
	kept := 0
	for i := range table.shards {
		for text, m := range table.shards[i].marks {
			kept++
			if m.uses != uses[text] {
				t.Errorf("marks are used %d times, they say %d", uses[text], m.uses)
			}
		}
	}
	if kept != len(uses) {
		t.Errorf("%d marks are kept, %d used", kept, len(uses))
	}
	for hostname := range want {
		table.Delete(hostname)
	}
	for i := range table.shards {
		if n := len(table.shards[i].marks); n != 0 {
			t.Fatalf("an empty table keeps %d marks", n)
		}
	}
}
