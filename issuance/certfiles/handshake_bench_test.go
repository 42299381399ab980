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

// BenchmarkFullMemory is the choice of a certificate that is in storage, whose one file
// is read from memory here, while certmagic's own memory is as full as Caddy lets it
// become: with the Front and without.
func BenchmarkFullMemory(b *testing.B) {
	const capacity, hostnames = 10_000, 20_000
	key := certtest.New(b, ownName, 1, time.Hour).Key
	stored := memories{}
	for i := range hostnames {
		m := certtest.Sign(b, key, nth(i), int64(i+1), time.Hour)
		if err := At(stored, ourCA, nth(i)).Save(b.Context(), m.Key, m.Chain, Metadata{}); err != nil {
			b.Fatal(err)
		}
	}
	for _, fronted := range []bool{false, true} {
		name := "certmagic alone"
		if fronted {
			name = "with the Front"
		}
		b.Run(name, func(b *testing.B) {
			var cfg *certmagic.Config
			cache := certmagic.NewCache(certmagic.CacheOptions{Logger: zap.NewNop(), Capacity: capacity,
				GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return cfg, nil }})
			defer cache.Stop()
			cfg = certmagic.New(cache, certmagic.Config{Logger: zap.NewNop(), Storage: stored, Issuers: []certmagic.Issuer{idle(ourCA)}, DisableARI: true,
				OnDemand: &certmagic.OnDemandConfig{DecisionFunc: func(context.Context, string) error { return nil }}})
			if fronted {
				front := &Front{Shows: func(context.Context, string) Shown { return ShowAny }}
				front.SetIssuers([]string{ourCA})
				front.Install(cfg, nil)
			}
			load := func(i int) {
				if _, err := cfg.GetCertificateWithContext(b.Context(), &tls.ClientHelloInfo{ServerName: nth(i % hostnames)}); err != nil {
					b.Fatal(err)
				}
			}
			i := 0
			for ; i < capacity; i++ {
				load(i)
			}
			for b.Loop() {
				load(i)
				i++
			}
		})
	}
}

// memories is a storage in memory.
type memories map[string][]byte

func (m memories) Load(_ context.Context, key string) ([]byte, error) {
	if value, ok := m[key]; ok {
		return value, nil
	}
	return nil, notThere(key)
}
func (m memories) Store(_ context.Context, key string, value []byte) error {
	m[key] = value
	return nil
}
func (m memories) Exists(_ context.Context, key string) bool          { _, ok := m[key]; return ok }
func (memories) Lock(context.Context, string) error                   { return nil }
func (memories) Unlock(context.Context, string) error                 { return nil }
func (memories) Delete(context.Context, string) error                 { return nil }
func (memories) List(context.Context, string, bool) ([]string, error) { return nil, nil }
func (memories) Stat(_ context.Context, key string) (certmagic.KeyInfo, error) {
	return certmagic.KeyInfo{}, notThere(key)
}
