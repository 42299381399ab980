package dashboard

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/advice"
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// perPage is how many records a page of the list has, and maxFilter how long a filter may
// be, in bytes.
const (
	perPage   = 50
	maxFilter = 256
)

// list is what the page of that name shows.
type list struct {
	Query
	Filter    string // the condition's, as it stands in the URL
	Phases    []v1alpha3.Phase
	Reasons   []string
	Rows      []listRow
	Note      string // what a reader must know of the search
	Count     string // what was found, in words
	First     string // the URL of the first page, empty on it
	Prev      string
	Next      string
	Unlimited bool // there are no filters
	Done      string
}

// listRow is a record of the list.
type listRow struct {
	Name, Hostname, Owner string
	URL                   string
	Phase                 string
	Ready                 string // the status of Ready
	Reason                string
	Act                   advice.Act
	Since                 time.Time
	Expiry                time.Time
	Trouble               string // why it cannot be shown
}

// list answers GET records.
func (d *Dashboard) list(w http.ResponseWriter, r *http.Request, _ string) {
	q, filter, bad := queryOf(r.URL.Query())
	if bad != "" {
		d.fail(w, r, problem{http.StatusBadRequest, bad})
		return
	}
	q.Most = perPage
	live := d.liveURL(r.Context(), "")
	found, err := d.Search(r.Context(), q)
	if err != nil {
		d.fail(w, r, problem{http.StatusServiceUnavailable, "The records could not be searched: " + err.Error()})
		return
	}
	l := list{Query: q, Filter: filter, Phases: []v1alpha3.Phase{v1alpha3.PhasePending, v1alpha3.PhaseIssuing, v1alpha3.PhaseActive, v1alpha3.PhaseDetached}}
	for _, reason := range v1alpha3.ConditionReasons(v1alpha3.ConditionReady) {
		if reason != v1alpha3.ReasonReady {
			l.Reasons = append(l.Reasons, reason)
		}
	}
	if q.Reason != "" && !slices.Contains(l.Reasons, q.Reason) {
		l.Reasons = append(l.Reasons, q.Reason)
	}
	l.Unlimited = filtersOf(q).Encode() == ""
	stale := ""
	for _, row := range d.api.all(r.Context(), found.Names) {
		l.Rows = append(l.Rows, rowOf(row))
		stale = cmp.Or(stale, row.Stale)
	}
	l.turn(found)
	l.say(found)
	l.Note = cmp.Or(l.Note, staleWords(stale))
	l.Done = doneWords(r.URL.Query().Get("done"))
	d.send(w, r, http.StatusOK, "list", frame{Title: "Records", Here: "records", Live: live, Body: l})
}

// queryOf reads the filters of a URL; bad says what is wrong with them.
func queryOf(v url.Values) (q Query, filter, bad string) {
	for _, f := range []struct {
		name string
		to   *string
	}{
		{"q", &q.Text}, {"owner", &q.Owner}, {"phase", &q.Phase}, {"reason", &q.Reason}, {"condition", &filter}, {"after", &q.After}, {"before", &q.Before},
	} {
		*f.to = strings.TrimSpace(v.Get(f.name))
		if len(*f.to) > maxFilter {
			return q, filter, fmt.Sprintf("The filter %s is longer than %d bytes: shorten it.", f.name, maxFilter)
		}
	}
	if filter != "" {
		var ok bool
		if q.Condition, q.Status, ok = strings.Cut(filter, "="); !ok || !v1alpha3.IsConditionType(q.Condition) {
			return q, filter, "The filter condition is not a condition and its status, such as TLSReady=False."
		}
	}
	return q, filter, ""
}

// filtersOf are the filters of a query as a URL has them, without the place in the list.
func filtersOf(q Query) url.Values {
	v := url.Values{}
	for name, value := range map[string]string{"q": q.Text, "owner": q.Owner, "phase": q.Phase, "reason": q.Reason} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Condition != "" {
		v.Set("condition", q.Condition+"="+q.Status)
	}
	return v
}

// turn finds the pages before and after this one.
func (l *list) turn(found Result) {
	at := func(name, value string) string {
		v := filtersOf(l.Query)
		if name != "" {
			v.Set(name, value)
		}
		return listURL(v)
	}
	back := l.After == "" && l.Before != ""
	n := len(found.Names)
	if l.After != "" || back {
		l.First = at("", "")
	}
	switch {
	case back:
		if found.More {
			l.Prev = at("before", found.Upto)
		}
		if n > 0 {
			l.Next = at("after", found.Names[n-1])
		} else {
			l.Next = l.First
		}
	default:
		if found.More {
			l.Next = at("after", found.Upto)
		}
		if l.After != "" && n > 0 {
			l.Prev = at("before", found.Names[0])
		}
	}
}

// say puts into words what was found.
func (l *list) say(found Result) {
	switch n := len(l.Rows); {
	case n == 0 && found.More:
		l.Count = "Nothing found so far."
	case n == 0 && l.Unlimited && l.First == "":
		l.Count = "There are no records yet."
	case n == 0:
		l.Count = "No record is found."
	case found.More || l.First != "":
		l.Count = counted(n, "record", "records") + " on this page."
	default:
		l.Count = counted(n, "record", "records") + "."
	}
	switch {
	case found.Partial:
		l.Note = "Not all records are read after the start: some may be missing here."
	case found.Cut:
		l.Note = "There are many records, and not all were searched yet: the next page searches on."
	}
}

// rowOf is a record as the list shows it.
func rowOf(row row) listRow {
	l := listRow{Name: row.Name, Hostname: row.Name, URL: "records/" + url.PathEscape(row.Name)}
	if row.Err != nil {
		l.Trouble = row.Err.Error()
		return l
	}
	r := row.Record
	l.Hostname, l.Owner, l.Phase = r.Spec.Name, r.Owner(), string(r.Status.Phase)
	if l.Phase == "" {
		l.Phase = string(v1alpha3.PhasePending)
	}
	account := advice.Of(r)
	l.Act = advice.ActFor(r, &account)
	l.Ready = string(metav1.ConditionUnknown)
	if c := r.Status.Condition(v1alpha3.ConditionReady); c != nil {
		l.Ready, l.Since = string(c.Status), c.LastTransitionTime.Time
		l.Reason, _ = advice.Awaited(r)
	}
	if c := r.Status.Certificate; c != nil && c.NotAfter != nil {
		l.Expiry = c.NotAfter.Time
	}
	return l
}
