package issuance

import (
	"testing"
	"time"
)

// RFC 5280 section 4.1.2.5 has certificates end in the year 9999 that are meant
// to last; nanoseconds since 1970 end in 2262.
func TestWhatIsDueInAThousandYearsIsNotDueNow(t *testing.T) {
	s := New(Config{})
	s.entries.loaded = true
	now := s.now()
	last := s.entries.add("lasting.example.com")
	last.wanted, last.looked = true, true
	last.set(Want{UID: "u1", DNS01: true}, dossier{UID: "u1", CA: someCA, NotBefore: now.Unix(),
		NotAfter: time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix(), Renewal: time.Date(2500, 1, 1, 0, 0, 0, 0, time.UTC).Unix()})
	s.entries.place(last)
	if last.due <= now.UnixNano() || s.entries.pause() < time.Minute {
		t.Errorf("due at %v", time.Unix(0, last.due))
	}
}
