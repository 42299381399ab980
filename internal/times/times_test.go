package times

import (
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const longest = 14 * 24 * time.Hour

func TestRetryAfter(t *testing.T) {
	for name, tt := range map[string]struct {
		header string
		want   time.Duration // -1: none
	}{
		"seconds":                          {"120", 2 * time.Minute},
		"zero seconds":                     {"0", 0},
		"a date":                           {epoch.Add(time.Hour).Format("Mon, 02 Jan 2006 15:04:05 GMT"), time.Hour},
		"an RFC 850 date":                  {epoch.Add(time.Hour).Format("Monday, 02-Jan-06 15:04:05 GMT"), time.Hour},
		"a date gone by is now":            {epoch.Add(-time.Hour).Format("Mon, 02 Jan 2006 15:04:05 GMT"), 0},
		"an absurd number is cut":          {"99999999999", longest},
		"a negative number is nothing":     {"-5", -1},
		"a number past 64 bits is nothing": {"99999999999999999999999", -1},
		"words are nothing":                {"soon", -1},
		"an empty header is nothing":       {"", -1},
	} {
		t.Run(name, func(t *testing.T) {
			got := RetryAfter(tt.header, epoch, longest)
			if tt.want < 0 && !got.IsZero() || tt.want >= 0 && !got.Equal(epoch.Add(tt.want)) {
				t.Errorf("%q: %v", tt.header, got)
			}
		})
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "-1", "Mon, 02 Jan 2006 15:04:05 GMT"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if at := RetryAfter(s, epoch, longest); !at.IsZero() && (at.Before(epoch) || at.After(epoch.Add(longest))) {
			t.Errorf("%q: %v", s, at)
		}
	})
}
