package issuance

import (
	"slices"
	"testing"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestAColdHandshakeReadsOneFile(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	st := w.counted()
	w.dns.delegate(host)
	w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
	w.until(host, "certified", func(o ownership.CertificateObservation) bool { return seen(o) && o.Work == ownership.WorkNone })
	st.Took()
	w.cold(t, host, w.ca.Serial)
	want := []string{"load " + certmagic.StorageKeys.SitePrivateKey(w.key(), host)}
	if got := st.Took(); !slices.Equal(got, want) {
		t.Errorf("read %q, want %q", got, want)
	}
	if _, err := certtest.Shake(w.magic, host); err != nil || len(st.Took()) > 0 {
		t.Errorf("a warm handshake reads: %v", err)
	}
}
