package dashboard

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"
)

// Bounds on what the overview lists of one kind.
const (
	maxListed   = 100
	maxFindings = 50
)

// overview is what the page of that name shows.
type overview struct {
	Summary  fact[Summary]
	Phases   []linked
	Statuses []statusRow
	Whose    []whose
	Issuance fact[Issuance]
	Expiry   plot
	Series   fact[[]Series]
	Plots    []plot
	Nodes    fact[[]Node]
	Findings fact[findings]
}

// linked is a count whose records are listed elsewhere.
type linked struct {
	Name    string
	Records int
	URL     string
}

// statusRow is how many records have each status of a condition.
type statusRow struct {
	Type     string
	Statuses []linked
}

// whose is what one of customer, operator, CA and nobody has to do, most first.
type whose struct {
	Who     string
	Records int
	Reasons []reasonRow
}

type reasonRow struct {
	ReasonCount
	URL string
}

// findings are the doctor's, the worst first, without those that are right.
type findings struct {
	At    time.Time
	Wrong []Finding
	Right int
	More  int
}

// overview answers GET of the root.
func (d *Dashboard) overview(w http.ResponseWriter, r *http.Request, _ string) {
	ctx := r.Context()
	live := d.liveURL(ctx, "") + "&tick" // plots, forecasts and findings move with the time
	summary := ask(ctx, func(ctx context.Context) (Summary, error) { return d.Facts.Summary(ctx), nil })
	issuance := ask(ctx, func(ctx context.Context) (Issuance, error) { return d.Facts.Issuance(ctx), nil })
	series := ask(ctx, func(ctx context.Context) ([]Series, error) { return d.Facts.Series(ctx), nil })
	nodes := ask(ctx, d.Facts.Nodes)
	doctor := ask(ctx, func(ctx context.Context) (findings, error) {
		found, at, err := d.Facts.Findings(ctx)
		return sortFindings(found, at), err
	})
	o := overview{Summary: summary(), Issuance: issuance(), Series: series(), Nodes: nodes(), Findings: doctor()}
	o.Phases, o.Statuses, o.Whose = phaseLinks(o.Summary.Value), statusRows(o.Summary.Value), byWhom(o.Summary.Value.Reasons)
	o.Expiry = expiryPlot(o.Issuance.Value)
	for _, s := range o.Series.Value {
		o.Plots = append(o.Plots, seriesPlot(s))
	}
	o.Nodes.Value = o.Nodes.Value[:min(len(o.Nodes.Value), maxListed)]
	o.Issuance.Value.Authorities = o.Issuance.Value.Authorities[:min(len(o.Issuance.Value.Authorities), maxListed)]
	d.send(w, r, http.StatusOK, "overview", frame{Title: "Overview", Here: "overview", Live: live, Body: o})
}

func phaseLinks(s Summary) (links []linked) {
	for _, p := range s.Phases {
		links = append(links, linked{p.Name, p.Records, listURL(url.Values{"phase": {p.Name}})})
	}
	return links
}

func statusRows(s Summary) (rows []statusRow) {
	for _, c := range s.Conditions {
		row := statusRow{Type: c.Type}
		for _, of := range []Count{{"True", c.True}, {"False", c.False}, {"Unknown", c.Unknown}} {
			row.Statuses = append(row.Statuses, linked{of.Name, of.Records, listURL(url.Values{"condition": {c.Type + "=" + of.Name}})})
		}
		rows = append(rows, row)
	}
	return rows
}

// byWhom groups reasons by who must act: who has most to do first, and nobody last.
func byWhom(reasons []ReasonCount) (all []whose) {
	for _, reason := range reasons {
		i := slices.IndexFunc(all, func(w whose) bool { return w.Who == reason.Who })
		if i < 0 {
			i, all = len(all), append(all, whose{Who: reason.Who})
		}
		all[i].Records += reason.Records
		all[i].Reasons = append(all[i].Reasons, reasonRow{reason, listURL(url.Values{"reason": {reason.Reason}})})
	}
	for i := range all {
		slices.SortStableFunc(all[i].Reasons, func(a, b reasonRow) int { return cmp.Compare(b.Records, a.Records) })
	}
	slices.SortStableFunc(all, func(a, b whose) int {
		if a.Who == "nobody" || b.Who == "nobody" {
			return cmp.Compare(boolean(a.Who == "nobody"), boolean(b.Who == "nobody"))
		}
		return cmp.Compare(b.Records, a.Records)
	})
	return all
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// listURL is the list with some filters, relative to the overview.
func listURL(q url.Values) string { return "records?" + q.Encode() }

// sortFindings puts what is wrong before what is only noted, and counts what is right.
func sortFindings(found []Finding, at time.Time) findings {
	f := findings{At: at}
	for _, one := range found {
		if one.Level == "ok" {
			f.Right++
			continue
		}
		f.Wrong = append(f.Wrong, one)
	}
	slices.SortStableFunc(f.Wrong, func(a, b Finding) int { return cmp.Compare(boolean(a.Level == "note"), boolean(b.Level == "note")) })
	if len(f.Wrong) > maxFindings {
		f.More = len(f.Wrong) - maxFindings
		f.Wrong = f.Wrong[:maxFindings]
	}
	return f
}
