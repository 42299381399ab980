package certs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const pebbleModule = "github.com/letsencrypt/pebble/v2"

// pebbleMends are the changes to Pebble without which it comes to a standstill
// under many orders at once, for ever, because it takes its locks in no fixed
// order:
//
//   - A read of an authorization holds that authorization and wants the store; a
//     new order holds the store and wants each authorization in turn. With a
//     writer waiting for the store between the two, none of the three goes on.
//     The same holds for a read of an order against a read of its authorization.
//
// The mended one lets go of the store before it takes the next lock, and is the same
// otherwise. Every program that is measured gets it.
var pebbleMends = []struct{ file, old, mended string }{
	{"db/memorystore.go",
		"\tm.RLock()\n\tdefer m.RUnlock()\n\n\tif order, ok := m.ordersByID[id]; ok {\n",
		"\tm.RLock()\n\torder, ok := m.ordersByID[id]\n\tm.RUnlock()\n\n\tif ok {\n"},
	{"db/memorystore.go",
		"\tm.RLock()\n\tdefer m.RUnlock()\n\tfor _, authz := range m.authorizationsByID {\n",
		"\tm.RLock()\n\tall := make([]*core.Authorization, 0, len(m.authorizationsByID))\n\tfor _, authz := range m.authorizationsByID {\n\t\tall = append(all, authz)\n\t}\n\tm.RUnlock()\n\tfor _, authz := range all {\n"},
}

// buildPebble builds the mended Pebble of the version that the end-to-end tests
// use into out, by way of dir.
func buildPebble(root, dir, out string) error {
	e2e, src, mod := filepath.Join(root, "e2e"), filepath.Join(dir, "pebble-src"), filepath.Join(dir, "pebble.mod")
	if out, err := exec.Command("go", "-C", e2e, "mod", "download", pebbleModule).CombinedOutput(); err != nil {
		return fmt.Errorf("fetching Pebble's source: %w: %s", err, out)
	}
	where, err := exec.Command("go", "-C", e2e, "list", "-m", "-f", "{{.Dir}}", pebbleModule).Output()
	if err != nil {
		return fmt.Errorf("finding Pebble's source: %w", err)
	}
	if err := os.RemoveAll(src); err != nil {
		return err
	}
	if err := os.CopyFS(src, os.DirFS(strings.TrimSpace(string(where)))); err != nil {
		return fmt.Errorf("copying Pebble's source: %w", err)
	}
	for _, m := range pebbleMends {
		file := filepath.Join(src, m.file)
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if n := strings.Count(string(text), m.old); n != 1 {
			return fmt.Errorf("mending Pebble: %s holds %q %d times, want once; look whether this version still needs it", m.file, m.old, n)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), m.old, m.mended, 1)), 0o644); err != nil {
			return err
		}
	}
	for from, to := range map[string]string{"go.mod": mod, "go.sum": filepath.Join(dir, "pebble.sum")} {
		text, err := os.ReadFile(filepath.Join(e2e, from))
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, text, 0o644); err != nil {
			return err
		}
	}
	for _, args := range [][]string{
		{"mod", "edit", "-replace=" + pebbleModule + "=" + src, "-replace=github.com/apoxy-dev/caddy-apoxy=" + root, mod},
		{"-C", e2e, "build", "-modfile=" + mod, "-o", out, pebbleModule + "/cmd/pebble"},
	} {
		if text, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("building Pebble: %w: %s", err, text)
		}
	}
	return nil
}
