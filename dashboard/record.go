package dashboard

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/advice"
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Bounds on what a record's page shows: of its labels and annotations, of its time line,
// whose newest steps are kept, and of each text, in characters.
const (
	maxPairs  = 100
	maxEvents = 200
	maxText   = 2000
)

// recordPage is what the page of one record shows.
type recordPage struct {
	Record *v1alpha3.DomainRecord
	Stale  string // why this may not be the newest
	Old    bool   // the status is older than the last change
	Act    advice.Act
	Good   string // the tone of Act
	Phase  string
	Target string
	TLS    string
	DNS    []dnsRecord
	Advice []advice.Piece

	Conditions []conditionRow
	Labels     []pair
	Notes      []pair // annotations
	Place      fact[*Place]
	Chain      fact[[]Certificate]
	Timeline   fact[[]eventRow]
	Surveyed   bool   // every name server was asked
	Actions    string // the way to the record's actions
	Done       string
}

type pair struct{ Key, Value string }

type conditionRow struct {
	metav1.Condition
	Words string
}

type eventRow struct {
	Event
	Tone, Words string
}

// serversQuery asks for what every name server answers.
const serversQuery = "servers"

// record answers GET records/NAME[?servers].
func (d *Dashboard) record(w http.ResponseWriter, r *http.Request, name string) {
	live := d.liveURL(r.Context(), name)
	rec, stale, err := d.api.get(r.Context(), name)
	if err != nil {
		d.refuse(w, r, err)
		return
	}
	p := pageOf(rec)
	p.Stale = staleWords(stale)
	place := ask(r.Context(), func(ctx context.Context) (*Place, error) {
		if p, ok := d.Facts.Place(ctx, rec.Spec.Name); ok {
			return &p, nil
		}
		return nil, nil
	})
	chain := ask(r.Context(), func(ctx context.Context) ([]Certificate, error) { return d.Facts.Certificate(ctx, rec.Spec.Name) })
	line := ask(r.Context(), func(ctx context.Context) ([]eventRow, error) {
		events, err := d.Facts.Timeline(ctx, string(rec.UID))
		if err == nil {
			events = withCreation(events, rec.CreationTimestamp.Time)
		}
		return eventRows(events), err
	})
	if p.Surveyed = r.URL.Query().Has(serversQuery); p.Surveyed {
		names, of := asked(rec.Spec.Name, p.DNS)
		answersOf(ask(r.Context(), func(ctx context.Context) ([]NameAnswers, error) {
			return d.Facts.Answers(ctx, names), nil
		})(), of)
	}
	p.Place, p.Chain, p.Timeline = place(), chain(), line()
	p.Actions = root(r.URL.EscapedPath()) + "records/" + url.PathEscape(rec.Name)
	p.Done = doneWords(r.URL.Query().Get("done"))
	d.send(w, r, http.StatusOK, "record", frame{Title: rec.Spec.Name, Live: live, Body: p})
}

// created is the type of the event that each record's life begins with.
const created = "Created"

// withCreation is a time line that begins with the record's creation, which is kept with the
// first event after it alone.
func withCreation(events []Event, at time.Time) []Event {
	if at.IsZero() || len(events) > 0 && events[0].Type == created {
		return events
	}
	return append([]Event{{Time: at, Type: created, Message: "The record was created."}}, events...)
}

// pageOf is what a record says of itself.
func pageOf(r *v1alpha3.DomainRecord) recordPage {
	a := advice.Of(r)
	p := recordPage{
		Record: r, Old: r.Status.ObservedGeneration < r.Generation, Act: advice.ActFor(r, &a), Phase: string(r.Status.Phase),
		Target: targetWords(r), TLS: advice.TLSWords(r), DNS: dnsRecords(r, &a), Labels: pairs(r.Labels), Notes: pairs(r.Annotations),
	}
	if p.Phase == "" {
		p.Phase = string(v1alpha3.PhasePending)
	}
	if p.Good = tone(p.Act.Who); p.Act.Who == advice.Nobody && !ready(r) {
		p.Good = "wait"
	}
	for _, piece := range a.Advice {
		if piece.Text != p.Act.Text {
			p.Advice = append(p.Advice, piece)
		}
	}
	at := 0
	for _, c := range r.Status.Conditions {
		row := conditionRow{Condition: c}
		if c.Message != "" {
			if row.Words = cut(a.ConditionWords(at), maxText); a.Conditions[at].Text == "" {
				row.Words = "What is to be done stands above."
			}
			at++
		}
		p.Conditions = append(p.Conditions, row)
	}
	return p
}

func ready(r *v1alpha3.DomainRecord) bool {
	c := r.Status.Condition(v1alpha3.ConditionReady)
	return c != nil && c.Status == metav1.ConditionTrue
}

// staleWords says what a Warning of the API means for a reader.
func staleWords(warning string) string {
	if warning == "" {
		return ""
	}
	return "The store could not confirm in time that this is the newest. It is what this node last knew."
}

func targetWords(r *v1alpha3.DomainRecord) string {
	if d := r.Spec.Target.Redirect; d != nil {
		return fmt.Sprintf("redirect to %s (%d)", r.RedirectText(), d.Code())
	}
	if ref := r.Spec.Target.Ref; ref != nil {
		return ref.Kind + " " + ref.Name
	}
	return "none"
}

// pairs are labels or annotations in the order of their keys.
func pairs(m map[string]string) (all []pair) {
	for _, key := range slices.Sorted(maps.Keys(m)) {
		if len(all) == maxPairs {
			return append(all, pair{"…", fmt.Sprintf("and %d more", len(m)-maxPairs)})
		}
		all = append(all, pair{key, cut(m[key], maxText)})
	}
	return all
}

// eventRows are the steps of a time line, the newest first.
func eventRows(events []Event) (rows []eventRow) {
	for _, e := range slices.Backward(events[max(0, len(events)-maxEvents):]) {
		e.Message = cut(e.Message, maxText)
		row := eventRow{Event: e, Tone: tone(e.To), Words: e.Type}
		if e.To == "" && e.Reason == v1alpha3.ReasonCertificateIssued {
			row.Tone = "good"
		}
		switch {
		case e.From != "" && e.To != "":
			row.Words += ": " + e.From + " → " + e.To
		case e.To != "":
			row.Words += ": " + e.To
		}
		rows = append(rows, row)
	}
	return rows
}

// Due is when a hostname that waits has its turn, for the page.
func (p recordPage) Due() time.Time {
	if p.Place.Value == nil {
		return time.Time{}
	}
	return p.Place.Value.Due
}
