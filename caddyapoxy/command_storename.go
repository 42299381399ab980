package caddyapoxy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"

	"github.com/apoxy-dev/caddy-apoxy/cli"
)

// namedStore is the store that the flags name; without a StoreModule: the running Caddy's.
func namedStore(text, config, adapter, address string) (p place, err error) {
	switch {
	case address != "":
		return p, nil
	case text != "":
		p.StoreModule, err = storeOfText("--store", text)
		return p, err
	}
	if p.raw, p.file, _, err = caddycmd.LoadConfig(config, adapter); err != nil {
		return p, err
	}
	if p.file == "" && len(p.raw) == 0 {
		return p, nil // as Caddy's own commands then ask at the default address
	}
	p.StoreModule, err = storeOfConfig(p.raw)
	return p, err
}

// storeOfText reads the text of a store option, given by a flag. A block may stand in one
// line, as in `etcd { endpoints http://10.0.0.1:2379; prefix /apoxy }`.
func storeOfText(flag, text string) (StoreModule, error) {
	tokens, err := caddyfile.Tokenize([]byte("store "+text), flag)
	if err != nil {
		return nil, fmt.Errorf("%s %.100q: %w", flag, text, err)
	}
	d := caddyfile.NewDispenser(inLines(tokens))
	d.Next()
	var raw json.RawMessage
	if err := parseStore(d, &raw); err != nil {
		return nil, err
	}
	if d.Next() {
		return nil, fmt.Errorf("%s %.100q: expected one store, got %.60q too", flag, text, d.Val())
	}
	return storeOfJSON(raw)
}

// inLines gives each option of a block a line of its own: lines end at a brace and at a
// semicolon, too.
func inLines(tokens []caddyfile.Token) []caddyfile.Token {
	var out []caddyfile.Token
	line, before, fresh := 1, 0, false
	for _, t := range tokens {
		was := t.Line
		if fresh = fresh || before > 0 && was > before || t.Text == "}" && !t.Quoted(); fresh && len(out) > 0 {
			line++
		}
		fresh = t.Text == "{" && !t.Quoted()
		if cut, ends := strings.CutSuffix(t.Text, ";"); ends && !t.Quoted() {
			t.Text, fresh = cut, true
		}
		before = was + t.NumLineBreaks()
		if t.Line = line; t.Text != "" || t.Quoted() {
			out = append(out, t)
			line += t.NumLineBreaks()
		}
	}
	return out
}

// place is a store that a flag names, by a configuration or by the text of a store line.
type place struct {
	StoreModule
	// raw is the configuration in JSON, and file where it was found; empty: there is none.
	raw  []byte
	file string
}

// endpoint reaches the Caddy at an address or, without one, that of the configuration.
func (p place) endpoint(address string) (*http.Client, string, error) {
	if address == "" && len(p.raw) > 0 {
		var err error
		if address, err = adminOf(p.raw, p.file); err != nil {
			return nil, "", err
		}
	}
	if address == "" {
		address = caddy.DefaultAdminListen
	}
	return cli.AddressClient(address)
}

// placeOf reads the value of a flag that takes a configuration file or the text of a
// store line.
func placeOf(flag, value, adapter string) (p place, err error) {
	const texts = "the text of a store line such as 'bolt ./apoxy.db' or 'etcd { endpoints http://10.0.0.1:2379 }'"
	engine, _, _ := strings.Cut(strings.TrimSpace(value), " ")
	info, err := os.Stat(value)
	switch {
	case err == nil && info.Mode().IsRegular():
		if p.raw, p.file, _, err = caddycmd.LoadConfig(value, adapter); err != nil {
			return p, fmt.Errorf("%s %.200q is a file, and so is read as a configuration: %w; expected a Caddyfile, a configuration in JSON, or %s", flag, value, err, texts)
		}
		p.StoreModule, err = storeOfConfig(p.raw)
	case slices.Contains([]string{"bolt", "etcd", "postgres"}, engine):
		p.StoreModule, err = storeOfText(flag, value)
	default:
		err = fmt.Errorf("%s %.200q is neither a file that exists nor begins with an engine's name: expected a Caddyfile, a configuration in JSON, or %s", flag, value, texts)
	}
	return p, err
}

// storeOfConfig finds the store in a configuration in JSON.
func storeOfConfig(raw []byte) (StoreModule, error) {
	var c struct {
		Apps struct {
			Apoxy *struct {
				Store json.RawMessage `json:"store"`
			} `json:"apoxy"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	if c.Apps.Apoxy == nil {
		return nil, errors.New("the configuration has no apoxy app: name another with --config, or the store with --store")
	}
	return storeOfJSON(c.Apps.Apoxy.Store)
}

// storeOfJSON makes the module of a store's JSON; without any, the default.
func storeOfJSON(raw json.RawMessage) (StoreModule, error) {
	named := struct{ Module string }{"bolt"}
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if err := json.Unmarshal(raw, &named); err != nil {
		return nil, fmt.Errorf("reading the store's configuration: %w", err)
	}
	var s interface {
		StoreModule
		caddy.Provisioner
	}
	switch named.Module {
	case "bolt":
		s = new(BoltStore)
	case "etcd":
		s = new(EtcdStore)
	default:
		return nil, fmt.Errorf("there is no store %.60q: expected bolt or etcd", named.Module)
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fmt.Errorf("reading the store's configuration: %w", err)
	}
	return s, s.Provision(caddy.Context{})
}
