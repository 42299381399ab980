package caddyapoxy

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/engines"
	"github.com/apoxy-dev/caddy-apoxy/target"
)

// EdgeFunction is a target whose requests are answered by sandboxed code from a file,
// which is read anew when it changes. A file that is missing or does not compile never
// refuses a configuration: TargetReady says what is wrong with it. What the function
// does not answer goes to the site's next handler.
type EdgeFunction struct {
	// The file: WebAssembly (.wasm), JavaScript (.js, .mjs) or TypeScript (.ts, .mts).
	// A relative path starts at the working directory. Required.
	File string `json:"file,omitempty"`

	// How long a request may keep the function running. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// What one instance of the function may hold, in bytes. Default: 128 MiB.
	Memory int64 `json:"memory,omitempty"`

	// The longest body that the function may read, in bytes. Default: 10 MiB.
	RequestBody int64 `json:"request_body,omitempty"`

	// The longest body that the function may answer, in bytes. Default: 10 MiB.
	ResponseBody int64 `json:"response_body,omitempty"`

	// The size of the header fields that the function may answer, in bytes.
	// Default: 64 KiB.
	Headers int64 `json:"headers,omitempty"`

	// How much one request may print to the log, in bytes. Default: 64 KiB.
	Log int64 `json:"log,omitempty"`

	// How many requests may be with the function at once; more wait for a second,
	// then get 503. Default: 100.
	Concurrency int `json:"concurrency,omitempty"`

	// What the function finds in its environment. Placeholders, such as {env.KEY}
	// and {file./run/secrets/key}, keep secrets out of the configuration.
	// Default: nothing.
	Env map[string]string `json:"env,omitempty"`

	// The origins that the function may ask, as scheme://host[:port].
	// Default: none.
	Fetch []string `json:"fetch,omitempty"`

	// The directories that the function may read. Default: none.
	Mounts []FunctionMount `json:"mounts,omitempty"`

	// What asks the function from time to time whether it is well. Default: it is
	// well once it is compiled.
	Health *FunctionHealth `json:"health,omitempty"`

	joined string // the key of held; empty: none
	held   *function
	logger *zap.Logger
}

// FunctionMount is a directory that a function may read.
type FunctionMount struct {
	// The directory of this machine. A relative path starts at the working directory.
	Dir string `json:"dir,omitempty"`

	// Where the function sees it: an absolute path.
	At string `json:"at,omitempty"`
}

// FunctionHealth asks a function from time to time whether it is well.
type FunctionHealth struct {
	// The path that is asked for with GET; an answer of 200 to 299 is well.
	Path string `json:"path,omitempty"`

	// The time between two checks. Default: 30s.
	Interval caddy.Duration `json:"interval,omitempty"`
}

const (
	// healthEvery is the default time between two health checks of a function.
	healthEvery = 30 * time.Second
	// leastHealthEvery bounds how often a function is asked.
	leastHealthEvery = 10 * time.Millisecond
)

// meant is a function as it is configured, with nothing left to expand or default.
type meant struct {
	File     string
	Settings edgefunction.Settings
	Check    edgefunction.HealthCheck
	compile  edgefunction.Compiler
}

// key is the same for functions that are the same, whatever site or configuration
// has them. It tells nothing of secrets.
func (m meant) key() (string, error) {
	var err error
	if m.File, err = filepath.Abs(m.File); err != nil {
		return "", err
	}
	all, err := json.Marshal(m)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%x", sha256.Sum256(all)), nil
}

// meant reads the configuration. Errors name the option, its value and the mend.
func (e *EdgeFunction) meant(name string) (m meant, err error) {
	repl := caddy.NewReplacer()
	if name, err = expand(repl, "the name of an EdgeFunction", name); err != nil {
		return m, err
	}
	if m.File, err = expand(repl, "file", e.File); err != nil {
		return m, err
	}
	if m.compile, err = engines.For(m.File); err != nil {
		return m, err
	}
	m.Settings.Name = name
	m.Settings.Limits, err = edgefunction.Limits{
		Timeout: time.Duration(e.Timeout), Memory: e.Memory, RequestBody: e.RequestBody, ResponseBody: e.ResponseBody,
		Headers: e.Headers, Log: e.Log, Concurrency: e.Concurrency,
	}.Filled()
	if err != nil {
		return m, err
	}
	if m.Settings.Env, err = e.env(repl); err != nil {
		return m, err
	}
	if m.Settings.Fetch, err = e.fetch(repl); err != nil {
		return m, err
	}
	if m.Settings.Mounts, err = e.mounts(repl); err != nil {
		return m, err
	}
	m.Check, err = e.check(repl)
	return m, err
}

func (e *EdgeFunction) env(repl *caddy.Replacer) (map[string]string, error) {
	env := make(map[string]string, len(e.Env))
	for key, value := range e.Env {
		if err := edgefunction.CheckVariable(key); err != nil {
			return nil, err
		}
		value, err := expand(repl, "env "+key, value)
		if err != nil {
			return nil, err
		}
		env[key] = value
	}
	return env, nil
}

func (e *EdgeFunction) fetch(repl *caddy.Replacer) (origins []string, err error) {
	for _, text := range e.Fetch {
		if text, err = expand(repl, "fetch", text); err != nil {
			return nil, err
		}
		origin, err := edgefunction.Origin(text)
		if err != nil {
			return nil, fmt.Errorf("fetch: %w", err)
		}
		origins = append(origins, origin)
	}
	slices.Sort(origins)
	return slices.Compact(origins), nil
}

func (e *EdgeFunction) mounts(repl *caddy.Replacer) (mounts []edgefunction.Mount, err error) {
	for _, m := range e.Mounts {
		if m.Dir, err = expand(repl, "mount", m.Dir); err != nil {
			return nil, err
		}
		if m.At, err = expand(repl, "mount", m.At); err != nil {
			return nil, err
		}
		mounts = append(mounts, edgefunction.Mount{Dir: m.Dir, At: m.At})
	}
	return mounts, edgefunction.CheckMounts(mounts)
}

func (e *EdgeFunction) check(repl *caddy.Replacer) (c edgefunction.HealthCheck, err error) {
	if e.Health == nil {
		return c, nil
	}
	if c.Path, err = expand(repl, "health", e.Health.Path); err != nil {
		return c, err
	}
	if c.Interval = time.Duration(e.Health.Interval); c.Interval == 0 {
		c.Interval = healthEvery
	}
	switch {
	case !strings.HasPrefix(c.Path, "/"):
		return c, fmt.Errorf("health: the path is %.200q: expected one that begins with a slash, such as /healthz", c.Path)
	case c.Interval < leastHealthEvery:
		return c, fmt.Errorf("health: the interval is %s: expected at least %s", c.Interval, leastHealthEvery)
	}
	return c, nil
}

// provisionFunctions takes the functions in, and compiles those that no configuration
// has yet, all at once.
func (h *Handler) provisionFunctions(ctx caddy.Context) error {
	all := map[string]meant{}
	for name, e := range h.EdgeFunctions {
		if e == nil {
			return fmt.Errorf("edgefunction %s: expected an object with file", name)
		}
		m, err := e.meant(name)
		if err != nil {
			return fmt.Errorf("edgefunction %s: %w", name, err)
		}
		all[name] = m
	}
	var work sync.WaitGroup
	failed, mu := error(nil), sync.Mutex{}
	for name, m := range all {
		work.Go(func() {
			if err := h.EdgeFunctions[name].join(ctx, m); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = errors.Join(failed, fmt.Errorf("edgefunction %s: %w", name, err))
			}
		})
	}
	work.Wait()
	if failed != nil {
		return failed
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		// A pointer: handlers that share a function have targets of their own.
		if err := h.add(v1alpha3.KindEdgeFunction, name, &target.EdgeFunction{Function: h.EdgeFunctions[name].held.Function}); err != nil {
			return err
		}
	}
	return nil
}
