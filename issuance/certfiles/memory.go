package certfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"reflect"
	"slices"

	"github.com/caddyserver/certmagic"
)

// Evict drops a hostname from certmagic's memory, so that the next handshake
// loads what storage holds now. certmagic replaces a cached certificate by
// itself only once that is inside its own renewal window, which is too late
// after a revocation or a renewal that the CA pulled forward, and never drops
// one whose record is gone. Cache.RemoveManaged does exactly what is needed
// and is exported; the pointer to the cache is not, hence the reflection.
// Should a later certmagic rename the field, the layout test fails, and here
// the slower way through the renewal window remains.
func Evict(cfg *certmagic.Config, hostname string) {
	if cache := cacheOf(cfg); cache != nil {
		cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: hostname}})
	}
}

func cacheOf(cfg *certmagic.Config) *certmagic.Cache {
	if cfg == nil {
		return nil
	}
	f := reflect.ValueOf(cfg).Elem().FieldByName("certCache")
	if !f.IsValid() || f.Kind() != reflect.Pointer || f.IsNil() || f.Type() != reflect.TypeFor[*certmagic.Cache]() {
		return nil
	}
	return (*certmagic.Cache)(f.UnsafePointer())
}

// InMemory reports whether certmagic has a certificate of exactly this hostname
// in memory, or that this cannot be told.
func InMemory(cfg *certmagic.Config, hostname string) bool {
	cache := cacheOf(cfg)
	if cache == nil {
		return true
	}
	for _, cert := range cache.AllMatchingCertificates(hostname) {
		if slices.Contains(cert.Names, hostname) {
			return true
		}
	}
	return false
}

var errOthers = errors.New("what is stored for it is a certificate of other names")

// loadOwn brings a hostname's own certificate from storage into memory, as a
// handshake of its own, so that one file is read.
func loadOwn(ctx context.Context, cfg *certmagic.Config, hostname string) error {
	ctx = context.WithValue(ctx, certmagic.ClientHelloInfoCtxKey, &tls.ClientHelloInfo{ServerName: hostname})
	cert, err := cfg.CacheManagedCertificate(ctx, hostname)
	if err == nil && !slices.Contains(cert.Names, hostname) {
		err = errOthers
	}
	return err
}
