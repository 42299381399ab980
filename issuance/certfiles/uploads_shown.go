package certfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// This file has handshakes shown the uploads that the records say.

// upload is the hostname whose upload a handshake for a hostname is shown, empty for none.
func (f *Front) upload(ctx context.Context, hostname string) string {
	if f.Uploads == nil || hostname == "" {
		return ""
	}
	return f.Uploads(ctx, hostname)
}

// hides reports whether what else is stored for a hostname is kept from handshakes,
// because an upload is in its place.
func (f *Front) hides(ctx context.Context, hostname string) bool {
	return f.upload(ctx, hostname) == hostname && hostname != ""
}

// arrangeUpload puts the upload that the handshake which begins is to be shown into
// memory, alone under its hostname, and takes out what is not to be shown any more. It
// returns the hostname of the upload, empty for none.
func (f *Front) arrangeUpload(ctx context.Context, cfg *certmagic.Config, hostname string, log *zap.Logger) string {
	index, sh := f.known(), shelfOf(cfg)
	if f.Uploads == nil || index == nil || sh == nil {
		return ""
	}
	name := f.upload(ctx, hostname)
	if shelvedOnce.Load() {
		for _, n := range []string{hostname, wildcardOver(hostname)} {
			if n != name && sh.get(n) != nil && !f.hides(ctx, n) {
				f.reportUpload(sh.drop(ctx, cfg, n), n, log)
			}
		}
	}
	if name == "" {
		return ""
	}
	u, ok := index.Uploaded(name)
	if !ok {
		return ""
	}
	if have := sh.get(name); have == nil || have.sum != u.Sum {
		f.owns.do(ctx, u.key(), func(ctx context.Context) error {
			err := f.loadUpload(ctx, cfg, sh, u)
			f.reportUpload(err, name, log)
			return err
		})
	}
	for _, c := range sh.cache.AllMatchingCertificates(name) {
		if !c.HasTag(uploadTag) && slices.Contains(c.Names, name) {
			Evict(cfg, name)
			break
		}
	}
	return name
}

// loadUpload reads an upload into memory. One that is not in storage is reported to the
// index, which then counts on it no more.
func (f *Front) loadUpload(ctx context.Context, cfg *certmagic.Config, sh *uploadShelf, u Upload) error {
	cert, err := LoadUpload(ctx, cfg.Storage, u)
	if err == nil {
		return sh.put(ctx, cfg, u.Hostname, u.Sum, cert)
	}
	if index := f.known(); index != nil && errors.Is(err, fs.ErrNotExist) {
		index.UploadMissing(u)
	}
	return err
}

func (f *Front) reportUpload(err error, hostname string, log *zap.Logger) {
	if err != nil && log != nil {
		log.Error("the certificate that the customer uploaded cannot be shown", zap.String("hostname", hostname), zap.Duration("next_try_in", ownPause), zap.Error(err))
	}
}

// uploadManager answers handshakes that come while a chain is put into memory anew with
// another hostname beside its own: certmagic asks managers when it has nothing in memory.
type uploadManager struct {
	front *Front
	cfg   *certmagic.Config
}

// GetCertificate implements certmagic.Manager.
func (m *uploadManager) GetCertificate(ctx context.Context, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !shelvedOnce.Load() {
		return nil, nil
	}
	name := m.front.upload(ctx, strings.ToLower(strings.TrimSpace(hello.ServerName)))
	sh, index := shelfOf(m.cfg), m.front.known()
	if name == "" || sh == nil || index == nil {
		return nil, nil
	}
	u, ok := index.Uploaded(name)
	if have := sh.get(name); ok && have != nil && have.sum == u.Sum {
		cert := boundTo(have.cert, have.names)
		return &cert, nil
	}
	return nil, nil
}

// manage adds the uploadManager to a configuration.
func (f *Front) manage(cfg *certmagic.Config) {
	if f.Uploads == nil || cfg.OnDemand == nil {
		return
	}
	cfg.OnDemand.Managers = slices.DeleteFunc(slices.Clone(cfg.OnDemand.Managers), func(m certmagic.Manager) bool {
		_, ours := m.(*uploadManager)
		return ours
	})
	cfg.OnDemand.Managers = append(cfg.OnDemand.Managers, &uploadManager{f, cfg})
}
