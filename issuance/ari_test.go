package issuance

import (
	"crypto/x509"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestARenewalWindowThatCannotBeAskedForCostsNoWrite(t *testing.T) {
	now := time.Now()
	s := New(Config{Now: func() time.Time { return now }})
	j := &job{tools: s.tools, hostname: "api.example.com", step: stepARI, rec: lasting("5a3f", "a2V5.Wj8")}
	before := *j.rec.ARI
	l := j.run(t.Context())
	if l.save || !l.unchanged || l.rec.ARI.Poll != now.Add(time.Hour).Unix() || *j.rec.ARI != before {
		t.Errorf("%+v, %+v", l, l.rec.ARI)
	}
}

// A CA whose renewal windows are always over must not be asked for one
// certificate after the other: such orders are not counted against its budget.
func TestACAThatWantsEverythingRenewedAtOnceIsObeyedOnce(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	w.ca.Windows = func(nb, na time.Time) (time.Time, time.Time) { return nb.Add(-2 * time.Hour), nb.Add(-time.Hour) }
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	w.until(host, "left alone", func(o ownership.CertificateObservation) bool {
		return seen(o) && time.Until(o.RenewalTime) > 5*time.Hour
	})
	if n := w.ca.Placed(); n != 2 {
		t.Errorf("%d orders", n)
	}
}

func TestCertificatesThatAreDueAtOnceAreRenewedApart(t *testing.T) {
	cert := func(begins time.Time) *x509.Certificate {
		return &x509.Certificate{NotBefore: begins, NotAfter: begins.Add(90 * 24 * time.Hour)}
	}
	at := func(t time.Time) int64 { return t.Unix() }
	now := epoch
	for name, tt := range map[string]struct {
		r    dossier
		want int64
	}{
		"none before":                        {dossier{}, 0},
		"one that was due in its time":       {dossier{NotBefore: at(now.Add(-60 * 24 * time.Hour)), NotAfter: at(now.Add(30 * 24 * time.Hour))}, 0},
		"one that had hardly begun":          {dossier{NotBefore: at(now.Add(-time.Hour)), NotAfter: at(now.Add(89 * 24 * time.Hour))}, at(now.Add(6 * time.Hour))},
		"one of a clock that is far behind":  {dossier{NotBefore: at(now.Add(-1000 * time.Hour)), NotAfter: at(now.Add(-time.Hour)), Spared: at(now)}, at(now.Add(6 * time.Hour))},
		"one that was spared, in its time":   {dossier{NotBefore: at(now.Add(-60 * 24 * time.Hour)), NotAfter: at(now.Add(30 * 24 * time.Hour)), Spared: at(now.Add(-60*24*time.Hour + 6*time.Hour))}, 0},
		"one that was spared until just now": {dossier{NotBefore: at(now.Add(-7 * time.Hour)), NotAfter: at(now.Add(89 * 24 * time.Hour)), Spared: at(now.Add(-time.Second))}, at(now.Add(6 * time.Hour))},
	} {
		if got := tt.r.hurried(cert(now), now); got != tt.want {
			t.Errorf("%s: %v, want %v", name, times.Unix(got), times.Unix(tt.want))
		}
	}
	short := &x509.Certificate{NotBefore: now, NotAfter: now.Add(90 * time.Second)}
	r := dossier{NotBefore: at(now.Add(-time.Second)), NotAfter: at(now.Add(89 * time.Second))}
	if got := r.hurried(short, now); got != at(now.Add(9*time.Second)) {
		t.Errorf("short: %v", times.Unix(got))
	}
}
