package wasm

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// program is one compiled module. It implements edgefunction.Program.
type program struct {
	settings edgefunction.Settings
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	command  bool                // it speaks CGI
	config   wazero.ModuleConfig // what all instances share
	roots    []*os.Root
	usual    atomic.Uint64 // how much memory instances have, in bytes
	pool     pool
}

// configure says what instances find: clocks, randomness, environment and files.
func (p *program) configure() error {
	p.config = wazero.NewModuleConfig().WithName("").WithStartFunctions().WithArgs(p.settings.Name).
		WithSysWalltime().WithSysNanotime().WithRandSource(rand.Reader)
	for name, value := range p.settings.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.ContainsRune(value, 0) {
			return fmt.Errorf("env: %.100q: expected a name without =, and no NUL in name and value", name)
		}
		p.config = p.config.WithEnv(name, value)
	}
	files := wazero.NewFSConfig()
	for _, mount := range p.settings.Mounts {
		root, err := os.OpenRoot(mount.Dir)
		if err != nil {
			return fmt.Errorf("mounting %s at %s: %w", mount.Dir, mount.At, err)
		}
		p.roots = append(p.roots, root)
		files = files.WithFSMount(regularFiles{root.FS()}, mount.At)
	}
	p.config = p.config.WithFSConfig(files)
	return nil
}

// Serve implements edgefunction.Program.
func (p *program) Serve(w http.ResponseWriter, r *http.Request, next edgefunction.Next) error {
	ctx, x := p.newExchange(r.Context(), p.settings.Timeout, w, r)
	defer x.close()
	err := p.serve(ctx, x, next)
	if errors.Is(err, errSlow) {
		return tooSlow(w)
	}
	return err
}

func (p *program) serve(ctx context.Context, x *exchange, next edgefunction.Next) error {
	if p.command {
		return p.serveCGI(ctx, x)
	}
	return p.serveHandler(ctx, x, next)
}

// Close implements edgefunction.Program.
func (p *program) Close() error {
	p.pool.close()
	var errs []error
	if p.runtime != nil {
		errs = append(errs, p.runtime.Close(context.Background()))
	}
	for _, root := range p.roots {
		errs = append(errs, root.Close())
	}
	return errors.Join(errs...)
}

// idle is how long an instance waits for a request until it is closed.
const idle = time.Minute
