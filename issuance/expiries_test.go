package issuance

import (
	"reflect"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
)

func TestCertificatesAreCountedByCAAndWhatIsLeft(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	es := newEntries(func() time.Time { return now }, newLedger(nil), 1, func(string) {})
	day := 24 * time.Hour
	for name, c := range map[string]struct {
		left   time.Duration
		ca     string
		upload bool
		gone   bool
	}{
		"a": {-day, "le", false, false}, "b": {day, "le", false, false}, "c": {13 * day, "le", false, false},
		"d": {60 * day, "zero", false, false}, "e": {2 * day, "", true, false}, "f": {100 * day, "zero", false, true},
	} {
		e, end := es.add(name+".example.com"), now.Add(c.left).Unix()
		if c.upload {
			e.put(Want{}, dossier{}, &upload{UID: "u1", NotAfter: end})
			continue
		}
		r := dossier{UID: "u1", CA: c.ca, Serial: "1", NotAfter: end}
		if c.gone {
			r.miss(now)
		}
		e.set(Want{}, r)
	}
	got, days := es.countExpiries()
	want := map[string]*expiry{
		"le":       {map[string]int{"expired": 1, "3d": 1, "14d": 1, "30d": 0, "more": 0}, now.Add(day).Unix()},
		"zero":     {map[string]int{"expired": 0, "3d": 0, "14d": 0, "30d": 0, "more": 1}, now.Add(60 * day).Unix()},
		"uploaded": {map[string]int{"expired": 0, "3d": 1, "14d": 0, "30d": 0, "more": 0}, now.Add(2 * day).Unix()},
	}
	if !reflect.DeepEqual(got, want) {
		for ca, e := range got {
			t.Errorf("%s: %+v, first at %s", ca, *e, times.Unix(e.soonest))
		}
	}
	wantDays := &Expiries{At: now, Expired: 1}
	wantDays.Days[1], wantDays.Days[13], wantDays.Days[60], wantDays.Days[2] = 1, 1, 1, 1
	if !reflect.DeepEqual(days, wantDays) {
		t.Errorf("by day: %+v", days)
	}
}

func TestEndsAreCountedByDay(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	midnight := time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	for name, tt := range map[string]struct {
		end  time.Time
		want Expiries
	}{
		"now":               {now, Expiries{Expired: 1}},
		"later today":       {midnight.Add(-time.Second), Expiries{Days: [ExpiryDays]int{1}}},
		"tomorrow":          {midnight, Expiries{Days: [ExpiryDays]int{0, 1}}},
		"on the last day":   {midnight.Add((ExpiryDays-1)*24*time.Hour - 1), Expiries{Days: [ExpiryDays]int{ExpiryDays - 1: 1}}},
		"after that":        {midnight.Add((ExpiryDays - 1) * 24 * time.Hour), Expiries{Later: 1}},
		"in the far future": {time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC), Expiries{Later: 1}},
		"in the far past":   {time.Unix(1, 0), Expiries{Expired: 1}},
	} {
		x := Expiries{At: now}
		tt.want.At = now
		if x.add(tt.end.Unix()); x != tt.want {
			t.Errorf("%s: %+v", name, x)
		}
	}
}
