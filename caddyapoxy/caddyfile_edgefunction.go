package caddyapoxy

import (
	"math"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/dustin/go-humanize"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/edgefunction/engines"
)

// parseEdgeFunction sets up a function. Syntax:
//
//	edgefunction <name> <file> {
//		timeout       <duration>
//		memory        <size>
//		request_body  <size>
//		response_body <size>
//		headers       <size>
//		log           <size>
//		concurrency   <n>
//		env           <key> <value>
//		fetch         <origin>...
//		mount         <dir> <at>
//		health        <path> [<interval>]
//	}
//
// env, fetch and mount may be repeated.
func parseEdgeFunction(h httpcaddyfile.Helper, handler *Handler, name string, segment caddyfile.Segment) error {
	if _, twice := handler.EdgeFunctions[name]; twice {
		return h.Errf("there are two targets of one kind named %q", name)
	}
	p := functionParser{Dispenser: caddyfile.NewDispenser(segment), name: name}
	p.Next() // consume `edgefunction`
	if !p.NextArg() {
		return p.Errf("edgefunction %s: expected its file, such as `edgefunction %s ./%s.js`", name, name, name)
	}
	if p.to.File = p.Val(); !hasPlaceholder(p.Val()) {
		if _, err := engines.For(p.Val()); err != nil {
			return p.Errf("edgefunction %s: %v", name, err)
		}
	}
	if p.NextArg() {
		return p.Errf("edgefunction %s: expected a block after its file, got %q", name, p.Val())
	}
	for p.NextBlock(0) {
		if err := p.option(p.Val()); err != nil {
			return err
		}
	}
	if handler.EdgeFunctions == nil {
		handler.EdgeFunctions = map[string]*EdgeFunction{}
	}
	handler.EdgeFunctions[name] = &p.to
	return nil
}

// functionParser reads the options of one function.
type functionParser struct {
	*caddyfile.Dispenser
	name string
	to   EdgeFunction
}

func (p *functionParser) option(option string) error {
	switch option {
	case "timeout":
		return p.duration(option)
	case "memory":
		return p.size(option, &p.to.Memory)
	case "request_body":
		return p.size(option, &p.to.RequestBody)
	case "response_body":
		return p.size(option, &p.to.ResponseBody)
	case "headers":
		return p.size(option, &p.to.Headers)
	case "log":
		return p.size(option, &p.to.Log)
	case "concurrency":
		return p.concurrency()
	case "env":
		return p.env()
	case "fetch":
		return p.fetch()
	case "mount":
		return p.mount()
	case "health":
		return p.health()
	default:
		return p.Errf("edgefunction %s has no option %q: expected timeout, memory, request_body, response_body, headers, log, concurrency, env, fetch, mount or health", p.name, option)
	}
}

// wrong is an error in the option that is being read.
func (p *functionParser) wrong(format string, args ...any) error {
	return p.Errf("edgefunction %s: "+format, append([]any{p.name}, args...)...)
}

// bounds checks what was read so far against the limits that can be meant.
func (p *functionParser) bounds(l edgefunction.Limits) error {
	if _, err := l.Filled(); err != nil {
		return p.wrong("%v", err)
	}
	return nil
}

func (p *functionParser) duration(option string) error {
	var text string
	if !p.AllArgs(&text) {
		return p.wrong("%s: expected one duration, such as 10s", option)
	}
	d, err := caddy.ParseDuration(text)
	if err != nil || d <= 0 {
		return p.wrong("%s is %.100q: expected a positive duration, such as 10s", option, text)
	}
	p.to.Timeout = caddy.Duration(d)
	return p.bounds(edgefunction.Limits{Timeout: d})
}

func (p *functionParser) size(option string, to *int64) error {
	var text string
	if !p.AllArgs(&text) {
		return p.wrong("%s: expected one size, such as 10MiB", option)
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n == 0 || n > math.MaxInt64 {
		return p.wrong("%s is %.100q: expected a positive size, such as 10MiB", option, text)
	}
	*to = int64(n)
	return p.bounds(edgefunction.Limits{Memory: p.to.Memory, RequestBody: p.to.RequestBody, ResponseBody: p.to.ResponseBody, Headers: p.to.Headers, Log: p.to.Log})
}

func (p *functionParser) concurrency() error {
	var text string
	if !p.AllArgs(&text) {
		return p.wrong("concurrency: expected one number")
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return p.wrong("concurrency is %.100q: expected a positive number", text)
	}
	p.to.Concurrency = n
	return p.bounds(edgefunction.Limits{Concurrency: n})
}

func (p *functionParser) env() error {
	var key, value string
	if !p.AllArgs(&key, &value) {
		return p.wrong("env: expected a name and a value, such as `env API_KEY {env.API_KEY}`")
	}
	if err := edgefunction.CheckVariable(key); err != nil {
		return p.wrong("%v", err)
	}
	if _, twice := p.to.Env[key]; twice {
		return p.wrong("env: there are two values of %.100q: take one out", key)
	}
	if p.to.Env == nil {
		p.to.Env = map[string]string{}
	}
	p.to.Env[key] = value
	return nil
}

func (p *functionParser) fetch() error {
	origins := p.RemainingArgs()
	if len(origins) == 0 {
		return p.wrong("fetch: expected the origins that it may ask, such as https://api.example.net")
	}
	for _, o := range origins {
		if hasPlaceholder(o) {
			continue
		}
		if _, err := edgefunction.Origin(o); err != nil {
			return p.wrong("fetch: %v", err)
		}
	}
	p.to.Fetch = append(p.to.Fetch, origins...)
	return nil
}

func (p *functionParser) mount() error {
	var m FunctionMount
	if !p.AllArgs(&m.Dir, &m.At) {
		return p.wrong("mount: expected a directory and where the function sees it, such as `mount ./public /public`")
	}
	p.to.Mounts = append(p.to.Mounts, m)
	if hasPlaceholder(m.Dir + m.At) {
		return nil
	}
	var all []edgefunction.Mount
	for _, m := range p.to.Mounts {
		if !hasPlaceholder(m.Dir + m.At) {
			all = append(all, edgefunction.Mount{Dir: m.Dir, At: m.At})
		}
	}
	if err := edgefunction.CheckMounts(all); err != nil {
		return p.wrong("%v", err)
	}
	return nil
}

func (p *functionParser) health() error {
	args := p.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return p.wrong("health: expected a path and, if not 30s, an interval, such as `health /healthz 10s`")
	}
	p.to.Health = &FunctionHealth{Path: args[0]}
	if len(args) == 2 {
		d, err := caddy.ParseDuration(args[1])
		if err != nil || d <= 0 {
			return p.wrong("health: the interval is %.100q: expected a positive duration, such as 10s", args[1])
		}
		p.to.Health.Interval = caddy.Duration(d)
	}
	if hasPlaceholder(args[0]) {
		return nil
	}
	if _, err := p.to.check(caddy.NewReplacer()); err != nil {
		return p.wrong("%v", err)
	}
	return nil
}
