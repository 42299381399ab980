package caddyapoxy

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func init() {
	caddy.RegisterModule(BoltStore{})
}

// StoreModule opens the engine that records are kept in.
type StoreModule interface {
	// Key identifies the resource, such as an absolute path: configurations
	// whose stores have the same key share one open engine.
	Key() string
	// Open opens the engine.
	Open(*zap.Logger) (store.Store, error)
}

// isIn tells whether an open store is in a file.
func (o *openedStore) isIn(file os.FileInfo) bool {
	in, ok := o.store.Unwrap().(interface{ Stat() (os.FileInfo, error) })
	if !ok {
		return false
	}
	info, err := in.Stat()
	return err == nil && os.SameFile(info, file)
}

// BoltStore keeps records in one file on this machine.
type BoltStore struct {
	// The file. Relative paths start at the working directory.
	// Default: apoxy.db in Caddy's data directory.
	Path string `json:"path,omitempty"`
}

// CaddyModule returns the Caddy module information.
func (BoltStore) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "apoxy.stores.bolt", New: func() caddy.Module { return new(BoltStore) }}
}

// Provision makes the path absolute. Where the file is one that this process has
// open already under another path (a symbolic or hard link, another mount, before it
// was renamed), that one is taken: it is the same store.
func (b *BoltStore) Provision(caddy.Context) error {
	path := b.Path
	if path == "" {
		path = filepath.Join(caddy.AppDataDir(), "apoxy.db")
	}
	path, err := expand(caddy.NewReplacer(), "store bolt", path)
	if err != nil {
		return err
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("making the bolt store's path %q absolute: %w", path, err)
	}
	b.Path = abs
	if opened, ok := openElsewhere(abs); ok {
		b.Path = opened
	}
	return nil
}

// openElsewhere returns the path under which this process has the file at path
// open, if it has: device and inode are the same.
func openElsewhere(path string) (opened string, ok bool) {
	now, err := os.Stat(path)
	if err != nil {
		return "", false // it is yet to be made
	}
	stores.Range(func(key, value any) bool {
		if value.(*openedStore).isIn(now) {
			opened, ok = strings.TrimPrefix(key.(string), boltKey), true
		}
		return !ok
	})
	return opened, ok
}

// sameStore tells whether two keys name one store: of bolt, one file.
func sameStore(a, b string) bool {
	pathA, boltA := strings.CutPrefix(a, boltKey)
	pathB, boltB := strings.CutPrefix(b, boltKey)
	if a == b || !boltA || !boltB {
		return a == b
	}
	fileA, errA := os.Stat(pathA)
	fileB, errB := os.Stat(pathB)
	return errA == nil && errB == nil && os.SameFile(fileA, fileB)
}

// boltKey begins the keys of bolt stores.
const boltKey = "bolt:"

// Key is the absolute path.
func (b *BoltStore) Key() string { return boltKey + b.Path }

// Open opens or creates the file.
func (b *BoltStore) Open(logger *zap.Logger) (store.Store, error) {
	s, err := boltstore.Open(b.Path, boltstore.Options{Logger: logger})
	if err != nil {
		return nil, err // names the file and the mend
	}
	return s, nil
}

// OpenReadOnly opens the file, which must exist, for reading alone.
func (b *BoltStore) OpenReadOnly() (store.Store, error) {
	s, err := boltstore.Open(b.Path, boltstore.Options{ReadOnly: true})
	if err != nil {
		return nil, err // as above
	}
	return s, nil
}

// Vacant returns nil if there is no file.
func (b *BoltStore) Vacant(context.Context) error {
	return boltstore.Vacant(b.Path) // as above
}

// revisionsBeyond is how far a new file's revision lies beyond that of the store that its
// data came from, which may have gone on after it was read: no revision of that one means
// anything in this.
const revisionsBeyond = 1 << 20

// Fill makes the file and has it filled with what another store held at a revision.
func (b *BoltStore) Fill(_ context.Context, revision int64, fill func(store.Store) error) error {
	return boltstore.Create(b.Path, revision+revisionsBeyond, fill)
}

// UnmarshalCaddyfile sets up the store. Syntax:
//
//	bolt [<path>]
func (b *BoltStore) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the engine's name
	if d.NextArg() {
		b.Path = d.Val()
	}
	if d.NextArg() {
		return d.Errf("store bolt takes one path, got another argument %q", d.Val())
	}
	for d.NextBlock(d.Nesting()) {
		return d.Errf("store bolt has no options, got %q", d.Val())
	}
	return nil
}

// Interface guards
var (
	_ StoreModule           = (*BoltStore)(nil)
	_ readOnlyStore         = (*BoltStore)(nil)
	_ fillableStore         = (*BoltStore)(nil)
	_ caddy.Provisioner     = (*BoltStore)(nil)
	_ caddyfile.Unmarshaler = (*BoltStore)(nil)
)
