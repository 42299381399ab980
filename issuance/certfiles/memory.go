package certfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"reflect"
	"slices"

	"github.com/caddyserver/certmagic"
)

// Evict removes the certificate of a hostname from certmagic's memory, so that the next
// handshake loads it from storage. By itself certmagic replaces a certificate only
// within its own renewal window, which is too late after a revocation or an early
// renewal, and it never removes one whose record is gone. Cache.RemoveManaged does what
// is needed, but the pointer to the cache is not exported, hence the reflection. If a
// later certmagic renames the field, a test fails, and this does nothing.
func Evict(cfg *certmagic.Config, hostname string) {
	if cache := cacheOf(cfg); cache != nil {
		cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: hostname}})
	}
}

// cacheOf is the cache of a configuration, nil if it cannot be reached.
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

// InMemory reports whether certmagic has a certificate of exactly this hostname in
// memory. If the cache cannot be reached it says yes.
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

// loadOwn loads a hostname's own certificate from storage into memory. It does so as if
// for a handshake, so that the wrapped storage reads one file.
func loadOwn(ctx context.Context, cfg *certmagic.Config, hostname string) error {
	ctx = context.WithValue(ctx, certmagic.ClientHelloInfoCtxKey, &tls.ClientHelloInfo{ServerName: hostname})
	cert, err := cfg.CacheManagedCertificate(ctx, hostname)
	if err == nil && !slices.Contains(cert.Names, hostname) {
		err = errOthers
	}
	return err
}
