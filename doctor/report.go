package doctor

import (
	"fmt"
	"io"
	"strings"
)

// Level is how a finding is to be taken.
type Level string

const (
	// OK: as it should be.
	OK Level = "ok"
	// Note: not wrong, or not to be told from here, but worth knowing.
	Note Level = "note"
	// Wrong: somebody must mend it.
	Wrong Level = "wrong"
)

// Finding is the outcome of one check.
type Finding struct {
	Level Level `json:"level"`
	// Check is the kind of check, such as delegation; see docs/doctor.md.
	Check string `json:"check"`
	// Subject is what was examined: a server, an address, a URL.
	Subject string `json:"subject"`
	// Seen is what was found.
	Seen string `json:"seen"`
	// Expected is what should have been found, and Mend how to bring that
	// about; empty where nothing is wrong.
	Expected string `json:"expected,omitempty"`
	Mend     string `json:"mend,omitempty"`
}

// Report is what an examination found.
type Report struct {
	// Zone is the operator's zone.
	Zone     string    `json:"zone"`
	Findings []Finding `json:"findings"`
}

// Wrong counts the findings that somebody must mend.
func (r Report) Wrong() int {
	n := 0
	for _, f := range r.Findings {
		if f.Level == Wrong {
			n++
		}
	}
	return n
}

// WriteText writes the report for people.
func (r Report) WriteText(w io.Writer) error {
	var b strings.Builder
	for _, f := range r.Findings {
		level := strings.ToUpper(string(f.Level))
		if f.Level != Wrong {
			level = string(f.Level)
		}
		fmt.Fprintf(&b, "%-5s  %-10s  %s: %s\n", level, f.Check, f.Subject, f.Seen)
		for _, line := range [][2]string{{"expected", f.Expected}, {"mend", f.Mend}} {
			if line[1] != "" {
				fmt.Fprintf(&b, "%19s%-8s  %s\n", "", line[0], line[1])
			}
		}
	}
	switch n := r.Wrong(); n {
	case 0:
		fmt.Fprintf(&b, "\nNothing is wrong with %s: %d checks.\n", r.Zone, len(r.Findings))
	default:
		fmt.Fprintf(&b, "\n%d of %d checks of %s found something to mend.\n", n, len(r.Findings), r.Zone)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func ok(check, subject, seen string, args ...any) Finding {
	return Finding{Level: OK, Check: check, Subject: subject, Seen: clean(fmt.Sprintf(seen, args...))}
}

// finding is one that is not simply OK.
func finding(level Level, check, subject, seen, expected, mend string) Finding {
	return Finding{level, check, subject, clean(seen), printable(expected), printable(mend)}
}

// clean makes text of others fit for one line of a terminal.
func clean(s string) string {
	const most = 300
	s = printable(s)
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

// printable is a text without what a terminal would obey.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}
