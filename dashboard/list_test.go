package dashboard

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// hostsOn are the hostnames that a page of the list shows, and where its buttons lead.
func hostsOn(t *testing.T, text string) (names []string, next, prev string) {
	t.Helper()
	for _, n := range nodes(t, text) {
		if class, _ := attr(n, "class"); n.Data == "th" && class == "host" {
			names = append(names, words(n))
		}
		href, _ := attr(n, "href")
		switch rel, _ := attr(n, "rel"); rel {
		case "next":
			next = href
		case "prev":
			prev = href
		}
	}
	return names, next, prev
}

// Pages forwards and back hold every record once, with the filters and without, while
// records go.
func TestPagesOfTheList(t *testing.T) {
	w := newWorld(t)
	var all []string
	for i := range 130 {
		name := fmt.Sprintf("n%03d.example.com", i)
		all = append(all, name)
		w.create(name, func(r *v1alpha3.DomainRecord) {
			r.Labels = map[string]string{v1alpha3.OwnerLabel: fmt.Sprintf("owner-%d", i%2)}
		})
	}
	for filter, want := range map[string][]string{
		"":                        all,
		"q=n":                     all,
		"owner=owner-1":           every(all, func(i int) bool { return i%2 == 1 }),
		"q=OWNER-0+n1":            every(all, func(i int) bool { return i%2 == 0 && i >= 100 || i%2 == 0 && strings.Contains(all[i], "n1") }),
		"phase=Pending":           all,
		"phase=Active&owner=none": nil,
	} {
		var got, back []string
		at, last := "records?"+filter, ""
		for range 10 {
			names, next, _ := hostsOn(t, w.get("/"+at).Text)
			got, last = append(got, names...), at
			if next == "" {
				break
			}
			if u, err := url.Parse(next); err != nil || filter != "" && !strings.Contains(u.RawQuery, strings.ReplaceAll(filter, "+", "%20")[:3]) {
				t.Errorf("the filter %s is lost in %s", filter, next)
			}
			at = next
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d records forwards, want %d: %v", filter, len(got), len(want), got)
		}
		for at = last; at != ""; {
			names, _, prev := hostsOn(t, w.get("/"+at).Text)
			back = append(names, back...)
			at = prev
		}
		if !slices.Equal(back, want) {
			t.Errorf("%s: %d records backwards, want %d: %v", filter, len(back), len(want), back)
		}
	}
}

func every(all []string, which func(int) bool) (some []string) {
	for i, name := range all {
		if which(i) {
			some = append(some, name)
		}
	}
	return some
}

func TestFiltersAreBounded(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"q", "owner", "phase", "reason", "condition", "after", "before"} {
		if got := w.get("/records?" + name + "=" + strings.Repeat("x", maxFilter+1)); got.StatusCode != 400 || !strings.Contains(got.Text, "The filter "+name) {
			t.Errorf("a long %s: %s", name, got.Status)
		}
	}
	if got := textOf(t, w.get("/records").Text); !strings.Contains(got, "There are no records yet.") {
		t.Errorf("without records: %s", got)
	}
}

func TestWordsOfThePlots(t *testing.T) {
	if p := expiryPlot(Issuance{Expiries: []int{0, 2, 0, 0, 0, 0, 0, 0, 9}, Later: 1000, Expired: 1}); p.Words != "2 end within a week, 11 within 9 days, 1,000 later; 1 has ended; at most 9 on one day" || len(p.Bars) != 2 || p.Bars[1].H != "100.0" {
		t.Errorf("%+v", p)
	}
	if p := seriesPlot(Series{Name: "looks"}); p.Words != "nothing is known yet" || p.Bars != nil {
		t.Errorf("%+v", p)
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000"} {
		if got := number(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
	for path, want := range map[string]string{"/": "./", "": "./", "/records": "./", "/records/a": "../", "/records/a/delete": "../../"} {
		if got := root(path); got != want {
			t.Errorf("from %q the way is %q, want %q", path, got, want)
		}
	}
}
