package setup

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// letter is what the customer sends to whoever manages the DNS, as plain text.
func (v *view) letter(p plan) string {
	var b strings.Builder
	open := openSteps(p)
	if len(open) == 0 {
		b.WriteString(v.Plain("letter.nothing", "hostname", v.hostname) + "\n\n")
	} else {
		b.WriteString(v.Plain("letter.ask", "hostname", v.hostname) + "\n\n")
	}
	for i, s := range open {
		if i > 0 && s.state == stateLater {
			b.WriteString(v.Plain("letter.wait") + "\n\n")
		}
		b.WriteString(strconv.Itoa(i+1) + ". " + v.letterRecord(*s.record) + "\n")
	}
	b.WriteString(v.Plain("letter.page", "until", v.Until.UTC().Format("2006-01-02")) + "\n" + v.URL + "\n")
	return b.String()
}

// openSteps are those with a record that is to be created still.
func openSteps(p plan) []step {
	var open []step
	for _, s := range p.steps {
		if s.record != nil && s.state != stateDone && s.state != stateOptional {
			open = append(open, s)
		}
	}
	return open
}

func (v *view) letterRecord(d v1alpha3.DNSRecord) string {
	zone, host := place(d)
	name := clean(host)
	if zone != "" {
		name += " (" + v.Plain("letter.zone", "zone", zone) + ")"
	}
	lines := []string{
		v.Plain("card.type") + ": " + clean(d.Type),
		"   " + v.Plain("card.name") + ": " + name,
		"   " + v.Plain("card.value") + ": " + clean(strings.TrimSuffix(d.Value, ".")),
		"   " + clean(zoneLine(d)),
	}
	if d.Purpose == v1alpha3.PurposeTraffic && atApex(d, host) {
		key, pairs := v.apex(strings.TrimSuffix(d.Name, "."))
		lines = append(lines, "", "   "+v.Plain(key, pairs...))
		if len(v.addresses) > 0 {
			lines = append(lines, "   "+v.Plain("apex.addresses")+" "+strings.Join(v.addresses, ", "))
		}
	}
	return strings.Join(lines, "\n") + "\n"
}

// mailto is a link that opens a mail with a text (RFC 6068: line ends are %0D%0A).
func mailto(subject, text string) string {
	encode := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	return "mailto:?subject=" + encode(subject) + "&body=" + encode(strings.ReplaceAll(text, "\n", "\r\n"))
}
