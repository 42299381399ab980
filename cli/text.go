package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"golang.org/x/net/publicsuffix"
	"k8s.io/cli-runtime/pkg/printers"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// none stands where there is nothing to say.
const none = "-"

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

// printWanted prints DNS records as a table that can be pasted to a customer, with
// notes below it on what else works at the top of a zone.
func printWanted(w io.Writer, records []v1alpha3.DNSRecord, indent string, notes bool) error {
	rows := [][]string{{"NAME", "TYPE", "VALUE", "FOR"}}
	for _, d := range records {
		rows = append(rows, []string{d.Name, d.Type, d.Value, purposeWords(d)})
	}
	if err := printRows(w, rows, indent); err != nil {
		return err
	}
	for _, d := range records {
		if !notes || d.Purpose != v1alpha3.PurposeTraffic || !isTop(d.Name) {
			continue
		}
		note := d.Name + " is the top of its zone, where DNS allows no CNAME (RFC 1034 section 3.6.2): what works there is an ALIAS or ANAME record, " +
			"or flattening, with that value, or the addresses of that value as A and AAAA records."
		for _, line := range append([]string{""}, wrap(note, lineWidth-len(indent))...) {
			if _, err := fmt.Fprintln(w, strings.TrimRight(indent+harmless(line), " ")); err != nil {
				return err
			}
		}
	}
	return nil
}

// isTop reports whether a name is a registered domain, hence the top of a zone.
func isTop(name string) bool {
	name = strings.TrimSuffix(name, ".")
	top, err := publicsuffix.EffectiveTLDPlusOne(name)
	return err == nil && top == name
}

func purposeWords(d v1alpha3.DNSRecord) string {
	var s string
	switch d.Purpose {
	case v1alpha3.PurposeTraffic:
		s = "traffic"
	case v1alpha3.PurposeACMEChallenge:
		s = "the certificate before the cutover"
	case v1alpha3.PurposeOwnership:
		s = "proof of ownership"
	default:
		s = string(d.Purpose)
	}
	if d.Required {
		return s + " (required)"
	}
	return s + " (optional)"
}

// printRows prints cells in aligned columns.
func printRows(w io.Writer, rows [][]string, indent string) error {
	tw := printers.GetNewTabWriter(w)
	for _, row := range rows {
		line := harmless(strings.Join(row, "\t"))
		if _, err := fmt.Fprintln(tw, indent+line); err != nil {
			return err
		}
	}
	return tw.Flush()
}

// wrap breaks running text into lines of at most width columns; longer words
// stay whole, so that names can be copied.
func wrap(s string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(s) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// harmless is a text of others without what a terminal would obey: beside what
// EscapeTerminal replaces, all other control characters but tab and new line,
// among them those of C1, of which U+009B begins a sequence as ESC [ does
// (ECMA-48 section 5.3).
func harmless(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) && r != '\t' && r != '\n' {
			return '?'
		}
		return r
	}, printers.EscapeTerminal(s))
}
