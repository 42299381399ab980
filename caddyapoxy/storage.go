package caddyapoxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
)

func init() {
	caddy.RegisterModule(new(Storage))
}

// Storage keeps Caddy's certificates, private keys, ACME accounts, OCSP staples and locks
// in the store that the apoxy app keeps records in.
type Storage struct {
	// What is stored is encrypted with the first key (AES-256-GCM), and read with any of
	// them; what was stored without one is read, too, and encrypted in the background.
	// Each is 32 random bytes in base64 or hexadecimal, and may be a placeholder, such
	// as {file./run/secrets/storage.key}. Default: none, nothing is encrypted.
	EncryptionKeys []string `json:"encryption_keys,omitempty"`

	// IDs, as errors name them, of encryption keys that nobody has any more: what was
	// encrypted with one counts as not there, and is deleted in the background.
	// Default: none, and a configuration that lacks a key is refused.
	LostKeys []string `json:"lost_keys,omitempty"`

	// Where values lie. Default: the apoxy app's store. It is for Caddy's commands
	// `storage export` and `storage import`, which know no app, and for configurations
	// without one.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=apoxy.stores inline_key=module"`

	ctx    caddy.Context
	logger *zap.Logger
	keys   certstorage.Keyring
	lost   []certstorage.ID
	own    StoreModule            // StoreRaw, nil if it is the app's
	name   atomic.Pointer[string] // nil: the store is not known yet

	mu      sync.Mutex
	opened  *openedStore         // from the first use to Cleanup
	inner   *certstorage.Storage // from the first use on
	started bool                 // the apoxy app has been
	ended   bool                 // Cleanup has been
	scratch *certmagic.FileStorage
}

// CaddyModule returns the Caddy module information.
func (*Storage) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "caddy.storage.apoxy", New: func() caddy.Module { return new(Storage) }}
}

// Provision reads the options. The store is opened with the first use: Caddy loads its
// storage before any app.
func (s *Storage) Provision(ctx caddy.Context) error {
	s.ctx, s.logger = ctx, caddy.Log()
	repl := caddy.NewReplacer()
	var keys []certstorage.Key
	for i, text := range s.EncryptionKeys {
		text, err := expand(repl, "storage apoxy: encryption_key", text)
		if err != nil {
			return err
		}
		k, err := certstorage.ParseKey(text)
		if err != nil {
			return fmt.Errorf("storage apoxy: encryption_key %d: %w", i+1, err)
		}
		keys = append(keys, k)
	}
	var err error
	if s.keys, err = certstorage.NewKeyring(keys...); err != nil {
		return fmt.Errorf("storage apoxy: encryption_key: %w", err)
	}
	for _, text := range s.LostKeys {
		id, err := certstorage.ParseID(text)
		if err != nil {
			return fmt.Errorf("storage apoxy: lost_key: %w", err)
		}
		s.lost = append(s.lost, id)
	}
	if s.StoreRaw == nil {
		return nil
	}
	mod, err := ctx.LoadModule(s, "StoreRaw")
	if err != nil {
		return fmt.Errorf("storage apoxy: loading the store: %w", err)
	}
	own, ok := mod.(StoreModule)
	if !ok {
		return fmt.Errorf("storage apoxy: loading the store: %T is not a store", mod)
	}
	s.own = own
	s.liesIn(own)
	return nil
}

// liesIn names the storage by its store, as soon as that is known: whoever compares what
// lies in storage with what he knows tells storages apart by their names.
func (s *Storage) liesIn(st StoreModule) {
	name := "storage apoxy in " + st.Key()
	s.name.Store(&name)
}

// CertMagicStorage implements caddy.StorageConverter.
func (s *Storage) CertMagicStorage() (certmagic.Storage, error) { return s, nil }

// where is the store that values lie in, and who logs for it.
func (s *Storage) where() (StoreModule, *zap.Logger, error) {
	if s.own != nil {
		return s.own, s.logger.Named("apoxy"), nil
	}
	// Loads the app, if Caddy has not come to it yet. Later it is only looked up.
	v, err := s.ctx.AppIfConfigured("apoxy")
	switch {
	case errors.Is(err, caddy.ErrNotConfigured):
		return nil, nil, errors.New("storage apoxy needs to know the store: add the global option `apoxy { zone … }`, or name the store as `storage apoxy { store bolt /var/lib/apoxy.db }`, as Caddy's storage commands need it, too")
	case err != nil:
		return nil, nil, fmt.Errorf("storage apoxy: %w", err)
	}
	if app := v.(*App); app.store != nil {
		return app.store, app.logger, nil
	}
	return nil, nil, errors.New("storage apoxy cannot be used by what the apoxy app itself is loading: its store is not known yet")
}

// use returns the storage, opening the store if this is the first use.
func (s *Storage) use() (certmagic.Storage, error) {
	if st, err := s.present(); st != nil || err != nil {
		return st, err
	}
	module, logger, err := s.where() // without s.mu: it may load modules that use storage
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.inner != nil || s.ended {
		return s.presentLocked()
	}
	opened, err := openStore(module, logger)
	if errors.Is(err, boltstore.ErrLocked) && s.own == nil && !s.started {
		return s.aside(err)
	}
	if err != nil {
		return nil, fmt.Errorf("storage apoxy: %w", err)
	}
	s.opened = opened
	s.inner = certstorage.New(certstorage.Options{
		Usable: func(ctx context.Context) error { _, err := snapshot.Whole(ctx, opened.store); return err },
		Store:  opened.store, Locks: opened.locks, Keys: s.keys, Lost: s.lost, Name: s.String(), Logger: opened.logger.Named("storage"),
	})
	go s.rewrite(s.ctx, opened, s.inner)
	return s.inner, nil
}

func (s *Storage) present() (certmagic.Storage, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.presentLocked()
}

func (s *Storage) presentLocked() (certmagic.Storage, error) {
	switch {
	case s.inner != nil:
		return s.inner, nil
	case s.ended:
		return nil, errors.New("storage apoxy: its configuration has ended")
	case s.scratch != nil && s.started:
		return nil, errors.New("storage apoxy: another process had the store open while this configuration was loaded: load it again")
	case s.scratch != nil:
		return s.scratch, nil
	}
	return nil, nil
}

// aside keeps, in a folder that Cleanup removes, what modules store while a
// configuration is loaded beside another process that has the store: `caddy validate`
// does so, and a server of such a configuration does not start.
func (s *Storage) aside(why error) (certmagic.Storage, error) {
	dir, err := os.MkdirTemp("", "caddy-storage-apoxy")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("storage apoxy: %w", why), err)
	}
	s.scratch = &certmagic.FileStorage{Path: dir}
	return s.scratch, nil
}

// startTimeout bounds how long a start waits to learn which keys are in use.
const startTimeout = 5 * time.Second

// start opens the store and compares the keys with those in use, as the apoxy app starts.
// An engine that is not reached is asked later, with the first use.
func (s *Storage) start() error {
	s.mu.Lock()
	s.started = true
	s.mu.Unlock()
	if _, err := s.use(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, startTimeout)
	defer cancel()
	err := s.inner.Start(ctx)
	if errors.Is(err, store.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		s.opened.logger.Warn("which encryption keys are in use is asked later", zap.Error(err))
		return nil
	}
	return err
}

// Cleanup gives the store back. What was begun under this configuration may go on while
// another one keeps the store open.
func (s *Storage) Cleanup() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	var err error
	if s.opened != nil {
		err, s.opened = leaveStore(s.opened, nil), nil
	}
	if s.scratch != nil {
		err = errors.Join(err, os.RemoveAll(s.scratch.Path))
	}
	return err
}

// rewriteAfter is how long after the start what is stored is encrypted anew.
const rewriteAfter = time.Minute

// rewrite encrypts what is not encrypted with the first key, once per process and key.
func (s *Storage) rewrite(ctx context.Context, opened *openedStore, inner *certstorage.Storage) {
	if len(s.keys)+len(s.lost) == 0 {
		return
	}
	var first certstorage.ID
	if len(s.keys) > 0 {
		first = s.keys[0].ID()
	}
	for wait := rewriteAfter; ; wait = 10 * rewriteAfter {
		if done := opened.rewritten.Load(); done != nil && *done == first && len(s.lost) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		sum, err := inner.Rewrite(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			opened.logger.Warn("encrypting what is stored has stopped and is begun again later", zap.Stringer("key", first), zap.Error(err))
			continue
		case sum.Sealed+sum.Deleted+sum.Left > 0:
			opened.logger.Info("what is stored has been encrypted", zap.Stringer("key", first),
				zap.Int("values", sum.Values), zap.Int("encrypted_anew", sum.Sealed), zap.Int("deleted", sum.Deleted), zap.Int("unreadable", sum.Left))
		}
		opened.rewritten.Store(&first)
		return
	}
}

// Interface guards
var (
	_ caddy.Provisioner      = (*Storage)(nil)
	_ caddy.CleanerUpper     = (*Storage)(nil)
	_ caddy.StorageConverter = (*Storage)(nil)
	_ caddyfile.Unmarshaler  = (*Storage)(nil)
)
