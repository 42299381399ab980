package hosts

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// someRecord is a record that a selector may tell from others.
func someRecord(rnd *rand.Rand, name string) *v1alpha3.DomainRecord {
	r := &v1alpha3.DomainRecord{}
	r.Name, r.Spec.Name = name, name
	if n := rnd.IntN(8); n > 0 {
		r.Labels = map[string]string{v1alpha3.OwnerLabel: fmt.Sprintf("owner-%d", n), "tier": fmt.Sprint(rnd.IntN(3))}
	}
	r.Status.Phase = append(slices.Clone(phases[:]), "", "Novel")[rnd.IntN(len(phases)+2)]
	for _, t := range conditionTypes {
		if rnd.IntN(4) == 0 {
			continue
		}
		reasons := append(v1alpha3.ConditionReasons(t), "", "Novel", "Newer")
		r.Status.Conditions = append(r.Status.Conditions, metav1.Condition{
			Type: t, Status: append(slices.Clone(statuses[:]), "Strange")[rnd.IntN(len(statuses)+1)], Reason: reasons[rnd.IntN(len(reasons))],
		})
	}
	if rnd.IntN(9) == 0 {
		r.Spec.Target.Redirect = &v1alpha3.TargetRedirect{}
	} else {
		r.Spec.Target.Ref = &v1alpha3.TargetRef{Kind: v1alpha3.TargetKinds()[rnd.IntN(3)], Name: fmt.Sprint(rnd.IntN(3))}
	}
	return r
}

// fieldOf is what a field selector reads of a record.
func fieldOf(r *v1alpha3.DomainRecord, name string) string {
	ref := r.Spec.Target.Ref
	if ref == nil {
		ref = &v1alpha3.TargetRef{}
	}
	switch name {
	case v1alpha3.FieldName:
		return r.Name
	case v1alpha3.FieldHostname:
		return r.Spec.Name
	case v1alpha3.FieldTargetKind:
		return ref.Kind
	case v1alpha3.FieldTargetName:
		return ref.Name
	case v1alpha3.FieldPhase:
		if r.Status.Phase == "" {
			return string(v1alpha3.PhasePending)
		}
		return string(r.Status.Phase)
	}
	f, ok := v1alpha3.ParseConditionField(name)
	c := r.Status.Condition(f.Type)
	switch {
	case !ok:
		panic(name)
	case c == nil:
		return ""
	case f.Reason:
		return c.Reason
	}
	return string(c.Status)
}

// someSelectors are what may be asked; tight reports whether hosts know all of it.
func someSelectors(rnd *rand.Rand) (l, f string, tight bool) {
	var ls, fs []string
	pick := func(all ...string) string { return all[rnd.IntN(len(all))] }
	tight = true
	for range rnd.IntN(3) {
		ls = append(ls, pick(v1alpha3.OwnerLabel+"=owner-3", v1alpha3.OwnerLabel+"=nobody", v1alpha3.OwnerLabel+"!=owner-2",
			v1alpha3.OwnerLabel+" in (owner-1,owner-2)", "!"+v1alpha3.OwnerLabel, "tier=1", "tier notin (1,2)", v1alpha3.OwnerLabel+"=owner-7"))
	}
	for range rnd.IntN(3) {
		t := pick(conditionTypes...)
		reason := pick(append(v1alpha3.ConditionReasons(t), "", "Novel")...)
		status := pick("True", "False", "Unknown", "", "Strange")
		phase := pick("Pending", "Issuing", "Active", "Detached", "Novel")
		op := pick("=", "!=")
		tight = tight && reason != "Novel"
		switch rnd.IntN(4) {
		case 0:
			fs, tight = append(fs, v1alpha3.FieldPhase+op+phase), tight && phase != "Novel"
		case 1:
			fs = append(fs, v1alpha3.ConditionField{Type: t, Reason: true}.String()+op+reason)
		case 2:
			fs = append(fs, v1alpha3.ConditionField{Type: t}.String()+op+status)
			tight = tight && status != "Unknown" && status != "Strange"
		default:
			fs = append(fs, pick(v1alpha3.FieldTargetKind+op+v1alpha3.KindProxy, v1alpha3.FieldTargetName+op+"1", v1alpha3.FieldName+"!=n7"))
		}
	}
	return strings.Join(ls, ","), strings.Join(fs, ","), tight
}

func selected(t *testing.T, records map[string]*v1alpha3.DomainRecord, l labels.Selector, f fields.Selector) (names []string) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(records)) {
		r, set := records[name], fields.Set{}
		for _, q := range f.Requirements() {
			set[q.Field] = fieldOf(r, q.Field)
		}
		if l.Matches(labels.Set(r.Labels)) && f.Matches(set) {
			names = append(names, name)
		}
	}
	return names
}

// findAll reads page by page, and checks what Find says about how far it looked.
func findAll(t *testing.T, table *Table, l labels.Selector, f fields.Selector, page int) (names []string) {
	t.Helper()
	after := ""
	for {
		found, upto, more, err := table.Find(t.Context(), l, f, after, page)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(found); n > page || n > 0 && (found[0] <= after || more && found[n-1] > upto) || more && upto < after {
			t.Fatalf("after %q up to %q, more %v: %q", after, upto, more, found)
		}
		names = append(names, found...)
		if !more {
			return names
		}
		after = upto
	}
}

// checkOrder checks all that an order relies on.
func checkOrder(t *testing.T, o *order, want int) {
	t.Helper()
	var last place
	n := 0
	for b, br := range o.branches {
		var all facets
		for l, leaf := range br.leaves {
			var below facets
			for _, h := range leaf.hosts[:leaf.n] {
				p := o.place(h)
				if n > 0 && p.compare(last) <= 0 {
					t.Fatalf("%q stands after %q", p, last)
				}
				if (b > 0 || l > 0) && br.begins[l].compare(p) > 0 {
					t.Fatalf("%q stands in a leaf that begins at %q", p, br.begins[l])
				}
				last, below = p, below.or(facetsOf(h))
				n++
			}
			if below != br.below[l] || leaf.n == 0 {
				t.Fatalf("leaf %d of branch %d with %d hosts has the facets %x, not %x", l, b, leaf.n, br.below[l], below)
			}
			all = all.or(below)
		}
		if all != br.facets || len(br.leaves) == 0 || len(br.leaves) > branchSize {
			t.Fatalf("branch %d of %d leaves has the facets %x, not %x", b, len(br.leaves), br.facets, all)
		}
	}
	if n != want {
		t.Fatalf("%d hosts, want %d", n, want)
	}
}

// TestFindAsAFilter holds Find against a filter of all records, while they come, change
// and go.
func TestFindAsAFilter(t *testing.T) {
	for _, seed := range []uint64{1, 2, 3} {
		rnd := rand.New(rand.NewPCG(seed, 0))
		table, records := New(), map[string]*v1alpha3.DomainRecord{}
		for step := range 40 {
			for range 400 {
				name := fmt.Sprintf("n%d", rnd.IntN(3000))
				if shrinking := step%20 > 12; rnd.IntN(10) < 3 || shrinking && rnd.IntN(10) < 8 {
					table.Delete(name)
					delete(records, name)
				} else {
					records[name] = someRecord(rnd, name)
					table.Set(FromRecord(records[name], 1))
				}
			}
			owned := 0
			for _, r := range records {
				if r.Owner() != "" {
					owned++
				}
			}
			checkOrder(t, &table.byName, len(records))
			checkOrder(t, &table.byOwner, owned)
			for range 10 {
				ls, fs, tight := someSelectors(rnd)
				l, err := labels.Parse(ls)
				if err != nil {
					t.Fatal(err)
				}
				f, err := fields.ParseSelector(fs)
				if err != nil {
					t.Fatal(err)
				}
				got, want := findAll(t, table, l, f, 1+rnd.IntN(300)), selected(t, records, l, f)
				if !slices.IsSorted(got) || tight && !slices.Equal(got, want) {
					t.Fatalf("labels %q fields %q: found %q, want %q", ls, fs, got, want)
				}
				for _, name := range want {
					if _, found := slices.BinarySearch(got, name); !found {
						t.Fatalf("labels %q fields %q: %s is not found", ls, fs, name)
					}
				}
			}
		}
	}
}

// TestOrderGrows fills an order beyond one branch, in order and in none.
func TestOrderGrows(t *testing.T) {
	for _, sorted := range []bool{true, false} {
		table := New()
		const n = leafSize*branchSize + 5000
		perm := rand.New(rand.NewPCG(7, 7)).Perm(n)
		for i := range n {
			if !sorted {
				i = perm[i]
			}
			name := fmt.Sprintf("n%06d", i)
			table.Set(Make(Values{Hostname: name, Labels: map[string]string{v1alpha3.OwnerLabel: fmt.Sprint(i % 100)}}))
		}
		checkOrder(t, &table.byName, n)
		checkOrder(t, &table.byOwner, n)
		if leaves := len(table.byName.branches[0].leaves); sorted && leaves < branchSize-1 {
			t.Errorf("what came in order left a branch with %d leaves", leaves)
		}
		for _, i := range perm {
			table.Delete(fmt.Sprintf("n%06d", i))
		}
		checkOrder(t, &table.byName, 0)
		checkOrder(t, &table.byOwner, 0)
	}
}

// TestFindCostsWhatMatches: what is rare is found without looking at the rest.
func TestFindCostsWhatMatches(t *testing.T) {
	table := New()
	const n = 20_000
	for i := range n {
		name := fmt.Sprintf("n%06d", i)
		v := Values{Hostname: name, Phase: v1alpha3.PhaseActive}
		if i%5000 == 4999 {
			v.Phase = v1alpha3.PhaseDetached
		}
		table.Set(Make(v))
	}
	f, err := fields.ParseSelector(v1alpha3.FieldPhase + "=Detached")
	if err != nil {
		t.Fatal(err)
	}
	q := newQuery(labels.Everything(), f)
	looked := 0
	q.tests = []test{{func(*Host) string { looked++; return "" }, "", true}}
	s := search{order: &table.byName, query: q, most: n}
	for from, more := s.run(place{}); more; {
		from, more = s.run(from)
	}
	if len(s.names) != n/5000 || looked > n/5000 {
		t.Errorf("%d found, %d looked at", len(s.names), looked)
	}
}

func TestFindWhileWritten(t *testing.T) {
	table := New()
	for i := range 5000 {
		name := fmt.Sprintf("n%05d", i)
		table.Set(Make(Values{Hostname: name, Labels: map[string]string{v1alpha3.OwnerLabel: "a"}}))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { // odd ones come and go, even ones only change
		for i := 0; ctx.Err() == nil; i = (i + 7) % 5000 {
			name := fmt.Sprintf("n%05d", i)
			if i%2 == 1 {
				table.Delete(name)
			}
			table.Set(Make(Values{Hostname: name, Labels: map[string]string{v1alpha3.OwnerLabel: "a"}, Phase: phases[i%4]}))
		}
	})
	for _, by := range []string{v1alpha3.OwnerLabel + "=a", ""} {
		l, err := labels.Parse(by)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			even := 0
			for _, name := range findAll(t, table, l, fields.Everything(), 333) {
				if name[5]%2 == 0 {
					even++
				}
			}
			if even != 2500 {
				t.Errorf("%q: %d of those that are always there", by, even)
			}
		}
	}
	cancel()
	wg.Wait()
}

func TestChangedSince(t *testing.T) {
	var c changed
	c.forget()
	c.note("lost", 1)
	if _, ok := c.since(1<<60, "", ""); ok {
		t.Error("nothing is remembered while everything is read")
	}
	c.begin(10)
	for i := range 5 {
		c.note(fmt.Sprintf("n%d", i), int64(11+i))
	}
	for _, q := range []struct {
		revision    int64
		after, upto string
		want        []string
		ok          bool
	}{
		{9, "", "", nil, false}, {10, "", "", []string{"n4", "n3", "n2", "n1", "n0"}, true}, {13, "", "", []string{"n4", "n3"}, true},
		{10, "n1", "n3", []string{"n3", "n2"}, true}, {15, "", "", nil, true},
	} {
		if got, ok := c.since(q.revision, q.after, q.upto); ok != q.ok || !slices.Equal(got, q.want) {
			t.Errorf("after %d, %q to %q: %q %v, want %q %v", q.revision, q.after, q.upto, got, ok, q.want, q.ok)
		}
	}
	for i := range maxChanged {
		c.note("later", int64(100+i))
	}
	if _, ok := c.since(14, "", ""); ok {
		t.Error("what has been pushed out is remembered")
	}
	c.note("last", 1<<30)
	if got, ok := c.since(100, "", ""); !ok || len(got) != maxChanged || got[0] != "last" {
		t.Errorf("%d %v", len(got), ok)
	}
}

func TestCountAfter(t *testing.T) {
	table, rnd := New(), rand.New(rand.NewPCG(3, 5))
	check := func() {
		t.Helper()
		var names []string
		for h := range table.All() {
			names = append(names, h.Name())
		}
		slices.Sort(names)
		for _, name := range append([]string{"", "a", "n5", "zz"}, names[:min(len(names), 50)]...) {
			i, found := slices.BinarySearch(names, name)
			if found {
				i++
			}
			if n := table.CountAfter(name); n != len(names)-i {
				t.Fatalf("after %q there are %d of %d, want %d", name, n, len(names), len(names)-i)
			}
		}
	}
	check()
	for _, n := range []int{1, 60, 62, 3000, 20_000} {
		for table.Len() < n {
			table.Set(FromRecord(someRecord(rnd, fmt.Sprintf("n%06d.example.com", rnd.IntN(1_000_000))), 1))
		}
		check()
	}
	for h := range table.All() {
		if rnd.IntN(10) > 0 {
			table.Delete(h.Hostname)
		}
	}
	check()
}
