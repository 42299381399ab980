package caddyapoxy

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
)

// withStorage is the world's configuration with `storage apoxy` and its options, and a
// site whose certificate Caddy's own CA issues, which it keeps in storage.
func (w world) withStorage(secure string, options string) string {
	_, port, _ := net.SplitHostPort(secure)
	config := strings.Replace(w.caddyfile(), "storage file_system "+w.dir, "skip_install_trust\n\thttps_port "+port+"\n\tstorage apoxy "+options, 1)
	return config + "internal.example.org {\n\tbind 127.0.0.1\n\ttls internal\n}\n"
}

// served is the serial number of the certificate that a server shows.
func served(t *testing.T, address string) (serial string) {
	t.Helper()
	until(t, "a certificate", func() bool {
		c, err := tls.Dial("tcp", address, &tls.Config{ServerName: "internal.example.org", InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		defer c.Close()
		serial = c.ConnectionState().PeerCertificates[0].SerialNumber.String()
		return true
	})
	return serial
}

// Certificates and what else Caddy stores lie in the store of the records, over reloads
// and restarts; the store is closed with the last configuration.
func TestStorageLiesInTheStore(t *testing.T) {
	w, secure := newWorld(t), freePort(t)
	if err := load(t, w.withStorage(secure, "")); err != nil {
		t.Fatal(err)
	}
	serial := served(t, secure)
	rt := running(t).held
	st := caddy.ActiveContext().Storage()
	if err := st.Store(t.Context(), "some/thing", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if e, _, err := rt.store.Get(t.Context(), "storage/some/thing"); err != nil || !strings.HasSuffix(string(e.Value), "x") {
		t.Errorf("the store has %q, %v", e.Value, err)
	}
	if name := certfiles.NameOf(st); name != "storage apoxy in bolt:"+filepath.Join(w.dir, "apoxy.db") {
		t.Errorf("it is called %q", name)
	}
	if ok, err := certfiles.TryLock(t.Context(), st, "n.example.com"); !ok || err != nil {
		t.Errorf("locking: %v, %v", ok, err)
	}

	w.zone = "second.example.net"
	if err := load(t, w.withStorage(secure, "")); err != nil {
		t.Fatal(err)
	}
	now := caddy.ActiveContext().Storage()
	if value, err := now.Load(t.Context(), "some/thing"); err != nil || string(value) != "x" {
		t.Errorf("after a reload: %q, %v", value, err)
	}
	if ok, err := certfiles.TryLock(t.Context(), now, "n.example.com"); ok || err != nil {
		t.Errorf("a lock of the configuration before, taken again: %v, %v", ok, err)
	}
	if err := certfiles.Unlock(t.Context(), st, "n.example.com"); err != nil { // by who took it
		t.Error(err)
	}
	if ok, err := certfiles.TryLock(t.Context(), now, "n.example.com"); !ok || err != nil {
		t.Errorf("a lock that was released: %v, %v", ok, err)
	}
	if n, _ := stores.References(rt.key); n != 2 {
		t.Errorf("the store has %d users, want the records and this configuration's storage", n)
	}

	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, there := stores.References(rt.key); there {
		t.Error("the store is open after the last configuration ended")
	}
	if _, err := now.Load(t.Context(), "some/thing"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("loading from storage that has ended: %v", err)
	}
	if err := load(t, w.withStorage(secure, "")); err != nil {
		t.Fatal(err)
	}
	if again := served(t, secure); again != serial {
		t.Errorf("after a restart certificate %s is served, %s was issued", again, serial)
	}
}

// A reload to another store takes storage along, and gives the first one back.
func TestStorageMovesWithTheStore(t *testing.T) {
	w, secure := newWorld(t), freePort(t)
	if err := load(t, w.withStorage(secure, "")); err != nil {
		t.Fatal(err)
	}
	first := running(t).held.key
	if err := caddy.ActiveContext().Storage().Store(t.Context(), "some/thing", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := load(t, strings.Replace(w.withStorage(secure, ""), "apoxy.db", "other.db", 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := caddy.ActiveContext().Storage().Load(t.Context(), "some/thing"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the other store has what was stored in the first: %v", err)
	}
	if _, there := stores.References(first); there {
		t.Errorf("%s is open, and no configuration names it", first)
	}
}

// `caddy validate` beside a running server neither waits for the store nor writes
// anywhere that stays; a second server does not start.
func TestValidateBesideARunningServer(t *testing.T) {
	w, secure := newWorld(t), freePort(t)
	t.Setenv("TMPDIR", t.TempDir())
	adapted, err := adapted(w.withStorage(secure, ""))
	if err != nil {
		t.Fatal(err)
	}
	other, err := boltstore.Open(filepath.Join(w.dir, "apoxy.db"), boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var config caddy.Config
	if err := json.Unmarshal(adapted, &config); err != nil {
		t.Fatal(err)
	}
	if err := caddy.Validate(&config); err != nil {
		t.Errorf("validating: %v", err)
	}
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) != 0 {
		t.Errorf("validating left %v, %v", left, err)
	}
	if err := loadJSON(t, string(adapted)); err == nil || !strings.Contains(err.Error(), "apoxy.db") {
		t.Errorf("a second server: %v", err)
	}
	if res, err := other.List(t.Context(), certstorage.Prefix, store.ListOptions{}); err != nil || len(res.KeyValues) != 0 {
		t.Errorf("the running server's store has %d values of ours, %v", len(res.KeyValues), err)
	}
}

// A configuration whose keys do not open what is stored is refused, and the one before
// stays in force.
func TestStorageRefusesWrongKeys(t *testing.T) {
	w, secure := newWorld(t), freePort(t)
	one, two := strings.Repeat("01", 32), strings.Repeat("02", 32)
	file := filepath.Join(w.dir, "storage.key")
	if err := os.WriteFile(file, []byte(one+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := load(t, w.withStorage(secure, "{\n\t\tencryption_key {file."+file+"}\n\t}")); err != nil {
		t.Fatal(err)
	}
	st := caddy.ActiveContext().Storage()
	if err := st.Store(t.Context(), "some/thing", []byte("secret")); err != nil {
		t.Fatal(err)
	}
	e, _, err := running(t).held.store.Get(t.Context(), "storage/some/thing")
	if err != nil || strings.Contains(string(e.Value), "secret") {
		t.Errorf("the store has %q, %v", e.Value, err)
	}
	key, err := certstorage.ParseKey(one)
	if err != nil {
		t.Fatal(err)
	}
	for _, options := range []string{"", "{\n\t\tencryption_key " + two + "\n\t}"} {
		if err := load(t, w.withStorage(secure, options)); err == nil || !strings.Contains(err.Error(), key.ID().String()) {
			t.Errorf("with options %q: %v", options, err)
		}
	}
	if caddy.ActiveContext().Storage() != st {
		t.Error("a configuration that was refused is in force")
	}
	if err := load(t, w.withStorage(secure, "{\n\t\tencryption_key "+two+" "+one+"\n\t}")); err != nil {
		t.Fatal(err)
	}
	if value, err := caddy.ActiveContext().Storage().Load(t.Context(), "some/thing"); err != nil || string(value) != "secret" {
		t.Errorf("with a further key: %q, %v", value, err)
	}
}

// What a broken-off copy or restore has left is not touched, though Caddy's own CA is
// loaded from storage before the store is looked at.
func TestStorageLeavesAPartOfAStoreAlone(t *testing.T) {
	w, secure := newWorld(t), freePort(t)
	path := filepath.Join(w.dir, "apoxy.db")
	all := func(fill bool) (keys []string) {
		t.Helper()
		st, err := boltstore.Open(path, boltstore.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if fill {
			if _, err := st.Write(t.Context(), store.Op{Key: snapshot.FillingKey, Value: []byte("{}")}); err != nil {
				t.Fatal(err)
			}
		}
		res, err := st.List(t.Context(), "", store.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range res.KeyValues {
			keys = append(keys, kv.Key)
		}
		return keys
	}
	before := all(true)
	if err := load(t, w.withStorage(secure, "{\n\t\tencryption_key "+strings.Repeat("01", 32)+"\n\t}")); err == nil || !strings.Contains(err.Error(), snapshot.ErrFilling.Error()) {
		t.Errorf("loading it: %v", err)
	}
	if after := all(false); !slices.Equal(after, before) {
		t.Errorf("it holds %q, it held %q", after, before)
	}
}

// Without the app, as in Caddy's storage commands, the store is to be named.
func TestStorageWithoutTheApp(t *testing.T) {
	file := filepath.Join(storageDir(t), "apoxy.db")
	open := func(raw string) certmagic.Storage {
		t.Helper()
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		t.Cleanup(cancel)
		mod, err := ctx.LoadModuleByID("caddy.storage.apoxy", json.RawMessage(raw))
		if err != nil {
			t.Fatal(err)
		}
		st, err := mod.(caddy.StorageConverter).CertMagicStorage()
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	if _, err := open(`{}`).List(t.Context(), "", true); err == nil || !strings.Contains(err.Error(), "storage apoxy { store bolt") {
		t.Errorf("without a store: %v", err)
	}
	st := open(fmt.Sprintf(`{"store":{"module":"bolt","path":%q}}`, file))
	if err := st.Store(t.Context(), "a/b", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if keys, err := st.List(t.Context(), "", true); err != nil || len(keys) != 2 {
		t.Errorf("it has %q, %v", keys, err)
	}
}
