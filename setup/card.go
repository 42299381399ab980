package setup

import (
	"html/template"
	"net/netip"
	"slices"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// zoneFileTTL is the TTL in a zone file's line, in seconds, as text.
const zoneFileTTL = "300"

// field is one thing to type in.
type field struct {
	Label, Value string
	// Empty: the field is to be left empty.
	Empty bool
	// Chosen: it is chosen from a list, not typed in.
	Chosen bool
	Hint   template.HTML
}

// card is one DNS record as the customer creates it, and what was seen of it.
type card struct {
	*words
	ID     string
	Fields []field
	Others []field // the same written in other ways
	// Apex says what to do at the top of a zone, and Addresses what else serves there.
	Apex      template.HTML
	Addresses []string
	// Seen is what stands at the name; Looked: it was looked at.
	Seen   []string
	Looked bool
	// Problem is what is wrong with it; empty: nothing is known to be. Mood is how much
	// that matters: bad, wait, or empty.
	Problem template.HTML
	Mood    string
}

// cardOf is the card of a step's DNS record at a provider.
func (v *view) cardOf(s step) *card {
	d := *s.record
	c := &card{words: v.words, ID: s.id}
	zone, host := place(d)
	name, value := strings.TrimSuffix(d.Name, "."), strings.TrimSuffix(d.Value, ".")
	entry := v.provider.Host(host, d.Name)
	c.Fields = []field{
		{Label: v.Plain("card.type"), Value: d.Type, Chosen: true},
		{Label: v.label(v.provider.HostLabel, "card.name"), Value: entry, Empty: entry == "", Hint: v.hostHint(zone, host)},
		{Label: v.label(v.provider.ValueLabel, "card.value"), Value: v.provider.Value(d.Value), Hint: v.valueHint()},
	}
	dot := field{Label: v.Plain("card.valueDot"), Value: value + "."}
	if v.provider.Value(d.Value) == dot.Value {
		dot = field{Label: v.Plain("card.valueNoDot"), Value: value}
	}
	c.Others = []field{
		{Label: v.Plain("card.fullName"), Value: name}, dot,
		{Label: v.Plain("card.line"), Value: zoneLine(d)},
	}
	if d.Purpose == v1alpha3.PurposeTraffic && !d.Configured && atApex(d, host) {
		key, pairs := v.apex(name)
		c.Apex, c.Addresses = v.Say(key, pairs...), v.addresses
	}
	c.Looked = d.LastTransitionTime != nil
	for _, o := range d.Observed {
		c.Seen = append(c.Seen, clean(o))
	}
	if d.Problem != nil && s.state != stateLater { // before the cutover what stands there is as it should be
		c.Problem, c.Mood = v.problem(d, zone, entry), moodOf(d, s.state)
	}
	for _, list := range [][]field{c.Fields, c.Others} {
		for i := range list {
			list[i].Value = clean(list[i].Value)
		}
	}
	return c
}

// fieldList is some fields with the words around them.
type fieldList struct {
	W    *words
	ID   string
	List []field
}

// MainFields are what is typed in, OtherFields the same in other forms.
func (c *card) MainFields() fieldList  { return fieldList{c.words, c.ID, c.Fields} }
func (c *card) OtherFields() fieldList { return fieldList{c.words, c.ID + "-other", c.Others} }

// label is a provider's own word for a field or, where the provider is not known, ours.
func (v *view) label(word, key string) string {
	if v.provider.name == "" {
		return v.Plain(key)
	}
	return word
}

func (v *view) hostHint(zone, host string) template.HTML {
	switch {
	case v.provider.WholeName:
		return v.Say("card.whole")
	case zone == "" || host == "@":
		return ""
	}
	return v.Say("card.relative", "zone", zone, "host", host)
}

func (v *view) valueHint() template.HTML {
	switch {
	case v.provider.FinalDot:
		return v.Say("card.dot")
	case v.provider.name == "":
		return v.Say("card.noDot")
	}
	return ""
}

// ProxyHint says how the provider's own proxy is kept away; empty: it has none.
func (v *view) ProxyHint() template.HTML {
	if !v.provider.Proxies() {
		return ""
	}
	return v.Say("card.proxy", "word", v.provider.ProxyOff)
}

// apex is the message that says what stands at a zone's top in place of a CNAME.
func (v *view) apex(name string) (key string, pairs []string) {
	if v.provider.ApexAlias != "" {
		return "apex.alias", []string{"hostname", name, "provider", v.provider.name, "alias", v.provider.ApexAlias}
	}
	return "apex.text", []string{"hostname", name}
}

// moodOf is how much a record's problem matters in a step.
func moodOf(d v1alpha3.DNSRecord, in state) string {
	switch {
	case in == stateTrouble:
		return "bad"
	case d.Problem.Reason == ownership.ProblemNotFound:
		return ""
	}
	return "wait"
}

// atApex reports whether a main record's name is the top of its zone.
func atApex(d v1alpha3.DNSRecord, host string) bool {
	return host == "@" || d.Problem != nil && d.Problem.Reason == ownership.ProblemApexNeedsAddress
}

// problem says what is wrong with a record, in the page's language: its reason decides,
// and not the words of the status, which are for operators.
func (v *view) problem(d v1alpha3.DNSRecord, zone, entry string) template.HTML {
	key := "problem." + d.Problem.Reason
	if _, ok := v.english[key]; !ok {
		key = "problem.other"
	}
	value := strings.TrimSuffix(d.Value, ".")
	return v.Say(key, "name", strings.TrimSuffix(d.Name, "."), "value", value, "valueDot", value+".", "type", d.Type, "zone", zone, "host", entry)
}

// zoneLine is a record as a line of a zone file (RFC 1035 section 5.1).
func zoneLine(d v1alpha3.DNSRecord) string {
	absolute := func(s string) string { return strings.TrimSuffix(s, ".") + "." }
	return absolute(d.Name) + " " + zoneFileTTL + " IN " + d.Type + " " + absolute(d.Value)
}

// addressesOf writes the edge's addresses with their types, IPv4 first.
func addressesOf(all []netip.Addr) []string {
	all = slices.Clone(all)
	slices.SortFunc(all, netip.Addr.Compare)
	var out []string
	for _, a := range all[:min(len(all), 16)] {
		if a = a.Unmap(); a.Is4() {
			out = append(out, "A "+a.String())
		} else {
			out = append(out, "AAAA "+a.String())
		}
	}
	return out
}
