package cli

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/apoxy-dev/caddy-apoxy/advice"
	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// lineWidth is where running text is wrapped, in columns.
const lineWidth = 80

// page writes what describe shows; the first error of w ends it.
type page struct {
	w   io.Writer
	now time.Time
	err error
}

// printPage prints everything about a record that a person may want to know.
func printPage(w io.Writer, r *v1alpha3.DomainRecord, now time.Time) error {
	p := &page{w: w, now: now}
	a := advice.Of(r)
	p.head(r)
	p.todo(r, a)
	p.dns(r, a)
	p.certificate(r)
	p.conditions(r, a)
	if p.err != nil {
		return fmt.Errorf("printing: %w", p.err)
	}
	return nil
}

func (p *page) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintln(p.w, harmless(fmt.Sprintf(format, args...)))
	}
}

// table prints rows of cells under one another.
func (p *page) table(rows [][]string, indent string) {
	if p.err == nil {
		p.err = printRows(p.w, rows, indent)
	}
}

// text prints running text, wrapped.
func (p *page) text(s, indent string) {
	for _, l := range wrap(s, lineWidth-len(indent)) {
		p.line("%s%s", indent, l)
	}
}

func (p *page) head(r *v1alpha3.DomainRecord) {
	rows := [][]string{{"Name:", r.Name}, {"Hostname:", r.Spec.Name}}
	rows = append(rows, pairs("Labels:", r.Labels)...)
	rows = append(rows, pairs("Annotations:", r.Annotations)...)
	rows = append(rows, [][]string{
		{"Created:", p.when(&r.CreationTimestamp)},
		{"Target:", targetWords(r)},
		{"TLS:", advice.TLSWords(r)},
		{"TTL:", fmt.Sprintf("%d s", r.EffectiveTTL())},
		{"Phase:", orNone(string(r.Status.Phase))},
	}...)
	if p := r.Status.DNSProvider; p != nil {
		rows = append(rows, []string{"DNS provider:", providerWords(p)})
	}
	if r.DeletionTimestamp != nil {
		rows = append(rows, []string{"Deleting:", "since " + p.when(r.DeletionTimestamp) + ", held by " + strings.Join(r.Finalizers, ", ")})
	}
	if g := r.Status.ObservedGeneration; g < r.Generation {
		rows = append(rows, []string{"Note:", "the status below is older than the last change of the record"})
	}
	p.table(rows, "")
}

// pairs makes rows of labels or annotations, the name of the field on the first.
func pairs(title string, m map[string]string) [][]string {
	if len(m) == 0 {
		return [][]string{{title, none}}
	}
	var rows [][]string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		rows = append(rows, []string{title, k + "=" + strings.Join(strings.Fields(m[k]), " ")})
		title = ""
	}
	return rows
}

func targetWords(r *v1alpha3.DomainRecord) string {
	ref := r.Spec.Target.Ref
	if d := r.Spec.Target.Redirect; d != nil {
		return fmt.Sprintf("%s/%s (%d)", v1alpha3.KindRedirect, r.RedirectText(), d.Code())
	}
	if ref == nil {
		return none
	}
	s := ref.Kind + "/" + ref.Name
	if group := ref.Key().Group; group != "" {
		s += " (" + group + ")"
	}
	return s
}

func providerWords(p *v1alpha3.DNSProviderStatus) string {
	if p.ControlPanel == "" {
		return p.Name
	}
	return p.Name + ", " + p.ControlPanel
}

func (p *page) certificate(r *v1alpha3.DomainRecord) {
	c := r.Status.Certificate
	if c == nil {
		return
	}
	p.line("")
	p.line("Certificate:")
	rows := [][]string{
		{"Issuer:", orNone(c.Issuer)}, {"Serial number:", orNone(c.SerialNumber)},
		{"Valid from:", p.when(c.NotBefore)}, {"Valid until:", p.when(c.NotAfter)}, {"Renewal:", p.when(c.RenewalTime)},
		{"Challenge:", orNone(c.Challenge)},
	}
	p.table(rows, "  ")
}

// conditions prints each condition with what was found.
func (p *page) conditions(r *v1alpha3.DomainRecord, a advice.Account) {
	p.line("")
	p.line("Conditions:")
	if len(r.Status.Conditions) == 0 {
		p.line("  %s", none)
		return
	}
	rows := [][]string{{"TYPE", "STATUS", "REASON", "SINCE"}}
	for _, c := range r.Status.Conditions {
		rows = append(rows, []string{c.Type, string(c.Status), orNone(c.Reason), p.when(&c.LastTransitionTime)})
	}
	p.table(rows, "  ")
	for i, c := range a.Conditions {
		p.line("")
		p.line("  %s:", c.Source)
		p.text(a.ConditionWords(i), "    ")
	}
}

// when tells a time and how far it is from now.
func (p *page) when(t *metav1.Time) string {
	if t == nil || t.IsZero() {
		return none
	}
	at := t.UTC().Format("2006-01-02 15:04:05 UTC")
	// Statuses hold whole seconds, some of them rounded up.
	if d := p.now.Sub(t.Time); d > -time.Second {
		return at + " (" + duration.HumanDuration(d) + " ago)"
	}
	return at + " (in " + duration.HumanDuration(t.Sub(p.now)) + ")"
}
