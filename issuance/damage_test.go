package issuance

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// What no handshake can load is not waited for to become readable.
func TestACertificateInStorageThatCannotBeReadIsReplaced(t *testing.T) {
	const host = "api.example.com"
	damaged := []byte(`{"sans":["api.exa`)
	for name, damage := range map[string]func(st certmagic.Storage, issuerKey string, m certtest.Certificate) error{
		"metadata of three files": func(st certmagic.Storage, issuerKey string, m certtest.Certificate) error {
			return st.Store(t.Context(), certmagic.StorageKeys.SiteMeta(issuerKey, host), damaged)
		},
		"metadata of one file": func(st certmagic.Storage, issuerKey string, m certtest.Certificate) error {
			whole := append(append(bytes.Clone(m.KeyPEM), m.Chain...),
				pem.EncodeToMemory(&pem.Block{Type: "CADDY APOXY METADATA", Headers: map[string]string{"Serial": "1"}, Bytes: damaged})...)
			return errors.Join(st.Store(t.Context(), certmagic.StorageKeys.SiteMeta(issuerKey, host), damaged), st.Store(t.Context(), certmagic.StorageKeys.SitePrivateKey(issuerKey, host), whole))
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			st, m := certfiles.Unwrap(w.magic.Storage), certtest.New(t, host, 1, time.Hour)
			certtest.SaveStock(t, m, st, w.key(), host)
			if err := damage(st, w.key(), m); err != nil {
				t.Fatal(err)
			}
			w.dns.delegate(host)
			w.s.Want(Want{Hostname: host, UID: "u1", DNS01: true})
			o := w.until(host, "certified", seen)
			serial, err := strconv.ParseInt(o.SerialNumber, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			w.cold(t, host, serial)
		})
	}
}

// mute is a storage that does not hand out certificates for the moment.
type mute struct{ *certmagic.FileStorage }

func (m mute) Load(ctx context.Context, key string) ([]byte, error) {
	if filepath.Ext(key) == ".key" {
		return nil, errors.New("timed out")
	}
	return m.FileStorage.Load(ctx, key)
}

// Whether somebody has renewed it can then not be told.
func TestNothingIsRemovedThatCannotBeReadForTheMoment(t *testing.T) {
	const host = "api.example.com"
	w := newWorld(t)
	m := certtest.New(t, host, 2, time.Hour)
	saved(t, m, w.magic.Storage, w.key(), host)
	cfg := *w.magic
	cfg.Storage = mute{certfiles.Unwrap(w.magic.Storage).(*certmagic.FileStorage)}
	c := newCA(acme.Authority{Directory: w.ca.Directory()}, &cfg, 0, nil)
	s := New(Config{})
	s.SetIssuers(&Issuers{list: []issuer{{member: "a", ca: c}}})
	j := &job{tools: s.tools, hostname: host, step: stepDrop, cas: []*ca{c}, rec: dossier{CA: c.Key, Serial: "1", NotAfter: 1}}
	if l := j.run(context.Background()); l.again != dropRetry || l.save {
		t.Errorf("%+v", l)
	}
	if keys := w.inStorage(); len(keys) != 3 {
		t.Errorf("in storage are %v", keys)
	}
}
