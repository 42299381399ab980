package cli

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestHowFarATimeIsFromNow(t *testing.T) {
	at := time.Date(2026, 2, 1, 12, 0, 0, 0, time.UTC)
	for after, want := range map[time.Duration]string{
		90 * time.Second:        "90s ago",
		0:                       "0s ago",
		-700 * time.Millisecond: "0s ago", // rounded up
		-time.Hour:              "in 60m",
	} {
		p := &page{now: at.Add(after)}
		stamp := metav1.NewTime(at)
		if got, want := p.when(&stamp), "2026-02-01 12:00:00 UTC ("+want+")"; got != want {
			t.Errorf("%v later it is %q, want %q", after, got, want)
		}
	}
	if got := (&page{now: at}).when(nil); got != none {
		t.Errorf("no time is %q, want %q", got, none)
	}
}
