package timeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

var t0 = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func after(d time.Duration) time.Time { return t0.Add(d) }

func changed(at time.Duration, of, from, to, reason string) Event {
	return Event{At: after(at), Type: of, From: from, To: to, Reason: reason}
}

func failure(at time.Duration, message string) Event {
	return Event{At: after(at), Type: "Certificate", Reason: "CertificateError", Message: message}
}

// told is a line in short.
func told(l Line) (out []string) {
	for _, e := range l.Events {
		s := fmt.Sprintf("%s %s %s>%s %s", e.At.Sub(t0), e.Type, e.From, e.To, e.Reason)
		if e.Count > 1 {
			s += fmt.Sprintf(" x%d until %s", e.Count, e.Last.Sub(t0))
		}
		out = append(out, s)
	}
	return out
}

func TestALineFoldsWhatRepeats(t *testing.T) {
	for name, tt := range map[string]struct {
		events []Event
		want   []string
	}{
		"equal failures become one": {
			[]Event{failure(0, "a"), failure(time.Minute, "b"), failure(time.Hour, "c")},
			[]string{"0s Certificate > CertificateError x3 until 1h0m0s"},
		},
		"also with something else between": {
			[]Event{failure(0, "a"), changed(time.Second, "CNAMEConfigured", "False", "True", "CNAMEConfigured"), failure(time.Hour, "c")},
			[]string{"0s Certificate > CertificateError x2 until 1h0m0s", "1s CNAMEConfigured False>True CNAMEConfigured"},
		},
		"but not with something of their kind between": {
			[]Event{failure(0, "a"), {At: after(time.Second), Type: "Certificate", Reason: "CertificateIssued"}, failure(time.Hour, "c")},
			[]string{"0s Certificate > CertificateError", "1s Certificate > CertificateIssued", "1h0m0s Certificate > CertificateError"},
		},
		"what is told twice is kept once": {
			[]Event{failure(0, "a"), failure(time.Hour, "b"), failure(0, "a"), failure(time.Hour, "b")},
			[]string{"0s Certificate > CertificateError x2 until 1h0m0s"},
		},
		"what comes late goes where it belongs": {
			[]Event{changed(time.Hour, "TLSReady", "False", "True", "CertificateIssued"), changed(time.Minute, "Phase", "Pending", "Issuing", "")},
			[]string{"1m0s Phase Pending>Issuing ", "1h0m0s TLSReady False>True CertificateIssued"},
		},
		"what is of nothing is left out": {[]Event{{At: t0}}, nil},
	} {
		var l Line
		for _, e := range tt.events {
			l.Add(e)
		}
		if got := told(l); !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", name, got, tt.want)
		}
	}
	var l Line
	l.Add(failure(0, "first"))
	if l.Add(failure(time.Hour, "last")); l.Events[0].Message != "last" {
		t.Errorf("of folded events the last message counts, got %q", l.Events[0].Message)
	}
}

func TestALineKeepsTheBeginningAndTheEnd(t *testing.T) {
	var l Line
	l.Add(changed(0, "OwnershipVerified", "False", "True", "TLSCertificateIssued"))
	l.Add(Event{At: t0, Type: "Certificate", Reason: "CertificateIssued"})
	for i := range 500 { // a customer who cannot decide
		to, from := "True", "False"
		if i%2 == 1 {
			to, from = from, to
		}
		l.Add(changed(time.Duration(i+1)*time.Hour, "CNAMEConfigured", from, to, ""))
	}
	got := told(l)
	if len(got) != Most {
		t.Fatalf("%d events are kept, want %d", len(got), Most)
	}
	want := []string{"0s OwnershipVerified False>True TLSCertificateIssued", "0s Certificate > CertificateIssued", "1h0m0s CNAMEConfigured False>True ", "2h0m0s CNAMEConfigured True>False "}
	if !slices.Equal(got[:4], want) {
		t.Errorf("the beginning is %q, want %q", got[:4], want)
	}
	if last := got[Most-1]; last != "500h0m0s CNAMEConfigured True>False " {
		t.Errorf("the end is %q", last)
	}
	l = Line{}
	for i := range 500 { // none repeats another
		l.Add(Event{At: after(time.Duration(i) * time.Second), Type: fmt.Sprint("T", i)})
	}
	if got := told(l); len(got) != Most || got[0] != "0s T0 > " || got[Most-1] != "8m19s T499 > " {
		t.Errorf("of events that differ: %q", got)
	}
}

func TestWhatIsForeignIsBounded(t *testing.T) {
	var l Line
	l.Add(Event{At: time.Time{}, Type: strings.Repeat("ä", 1000), Reason: "a\x1b[31mb\xff\u0085", Message: strings.Repeat("é", 4000), Count: -3, Last: t0})
	l.Add(Event{At: time.Unix(1<<62, 0), Type: "T", Count: 1 << 40})
	got, err := decode(encode(&l))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range got.Events {
		if len(e.Type) > maxWord || len(e.Message) > maxMessage || strings.ContainsAny(e.Reason, "\x1b\u0085") || e.At.Unix() < 0 || e.At.Unix() > maxTime {
			t.Errorf("%+v", e)
		}
	}
}
