package issuance

import (
	"testing"
	"time"
)

func TestARenewalWindowThatCannotBeAskedForCostsNoWrite(t *testing.T) {
	now := time.Now()
	s := New(Config{Now: func() time.Time { return now }})
	j := &job{s: s, hostname: "api.example.com", step: stepARI, rec: lasting("5a3f", "a2V5.Wj8")}
	before := *j.rec.ARI
	l := j.run(t.Context())
	if l.save || !l.quiet || l.rec.ARI.Poll != now.Add(time.Hour).Unix() || *j.rec.ARI != before {
		t.Errorf("%+v, %+v", l, l.rec.ARI)
	}
}
