package certfiles

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

// BenchmarkChoose is the choice of a certificate that is in memory, as every handshake
// makes it: with the Front and without, with a logger as Caddy has it.
func BenchmarkChoose(b *testing.B) {
	log := zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(io.Discard), zapcore.WarnLevel))
	m := certtest.New(b, ownName, 1, time.Hour)
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	for _, fronted := range []bool{false, true} {
		name := "certmagic alone"
		if fronted {
			name = "with the Front"
		}
		b.Run(name, func(b *testing.B) {
			var cfg *certmagic.Config
			cache := certmagic.NewCache(certmagic.CacheOptions{Logger: zap.NewNop(),
				GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return cfg, nil }})
			defer cache.Stop()
			storage := &certmagic.FileStorage{Path: b.TempDir()}
			cfg = certmagic.New(cache, certmagic.Config{Logger: log, Storage: storage, Issuers: []certmagic.Issuer{idle(ourCA)}, DisableARI: true,
				OnDemand: &certmagic.OnDemandConfig{DecisionFunc: func(context.Context, string) error { return nil }}})
			if err := At(storage, ourCA, ownName).Save(b.Context(), m.Key, m.Chain, Metadata{}); err != nil {
				b.Fatal(err)
			}
			if fronted {
				front := &Front{Shows: func(context.Context, string) Shown { return ShowAny }}
				front.SetIssuers([]string{ourCA})
				front.Install(cfg, log)
			}
			hello := &tls.ClientHelloInfo{ServerName: ownName, Conn: addressed{server}}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := cfg.GetCertificateWithContext(b.Context(), hello); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// addressed is a connection that has an address.
type addressed struct{ net.Conn }

func (addressed) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }
