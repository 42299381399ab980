package caddyapoxy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func TestASweepOfVeryManyCertificatesIsWarnedOf(t *testing.T) {
	for name, c := range map[string]struct {
		certificates int
		option       string
		warns        bool
	}{
		"many":                          {manyCertificates + 1, "", true},
		"many, and the sweep is seldom": {manyCertificates + 1, "storage_clean_interval 720h", true},
		"many, and the sweep is off":    {manyCertificates + 1, "storage_clean_interval off", false},
		"as many as it may be worth to": {manyCertificates, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			seedIndex(t, filepath.Join(w.dir, "apoxy.db"), c.certificates)
			file := filepath.Join(w.dir, "log")
			config := strings.Replace(w.caddyfile(), "\tadmin off\n", "\tadmin off\n\t"+c.option+"\n\tlog {\n\t\toutput file "+file+"\n\t}\n", 1)
			if err := load(t, config); err != nil {
				t.Fatal(err)
			}
			said := func() bool {
				b, err := os.ReadFile(file)
				return err == nil && bytes.Contains(b, []byte("storage_clean_interval off"))
			}
			if c.warns {
				until(t, "the warning", said)
				return
			}
			app := running(t)
			if _, err := app.held.scheduler.Indexed(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Stop(); err != nil { // which ends all logging
				t.Fatal(err)
			}
			if said() {
				t.Error("it is warned of")
			}
		})
	}
}

func seedIndex(t *testing.T, path string, n int) {
	t.Helper()
	st, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var ops []store.Op
	for i := range n {
		ops = append(ops, store.Op{Key: fmt.Sprintf("certificates/h%d.example.com", i), If: store.Any,
			Value: []byte(`{"uid":"5f0c1f66-6d3c-4f0e-9d5e-0123456789ab","ca":"ca","serial":"5a","notBefore":1790000000,"notAfter":4000000000,"renewal":3900000000}`)})
	}
	if _, err := st.Write(context.Background(), ops...); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}
