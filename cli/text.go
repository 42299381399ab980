package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode"

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

// printWanted prints DNS records as a table that can be pasted to a customer.
func printWanted(w io.Writer, records []v1alpha3.DNSRecord, indent string) error {
	rows := [][]string{{"NAME", "TYPE", "VALUE", "FOR"}}
	for _, d := range records {
		rows = append(rows, []string{d.Name, d.Type, d.Value, purposeWords(d)})
	}
	return printRows(w, rows, indent)
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
