package caddyapoxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// expand replaces the placeholders in an option's text, such as {env.EDGE} and
// {file./run/secrets/x}. One that nobody knows, or that stands for nothing, is an
// error that names option and placeholder: what is left out silently is a default
// that nobody asked for.
func expand(repl *caddy.Replacer, option, text string) (string, error) {
	out, err := repl.ReplaceOrErr(text, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: %.200q: %w: set it, or write the value out", option, text, err)
	}
	return out, nil
}

// expandAll is expand of every text of a list, in place.
func expandAll(repl *caddy.Replacer, option string, texts []string) error {
	for i := range texts {
		out, err := expand(repl, option, texts[i])
		if err != nil {
			return err
		}
		texts[i] = out
	}
	return nil
}

// isPlaceholder tells whether a placeholder stands for a whole value.
func isPlaceholder(s string) bool { return strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") }

// hasPlaceholder tells whether a text has one somewhere, as far as can be told
// before it is expanded.
func hasPlaceholder(s string) bool { return strings.Contains(s, "{") }

// hasPlaceholders tells whether one is in any text of the zone.
func (z Zone) hasPlaceholders() bool {
	texts := append([]string{z.Name, z.Hostmaster}, slices.Concat(z.Edge, z.EdgeCheck, z.CAA)...)
	for _, n := range z.Nameservers {
		texts = append(append(texts, n.Name), n.Addresses...)
	}
	return slices.ContainsFunc(texts, hasPlaceholder)
}

// expanded is the zone without placeholders. Errors name the option.
func (z Zone) expanded(repl *caddy.Replacer) (Zone, error) {
	var err error
	if z.Name, err = expand(repl, "zone", z.Name); err != nil {
		return z, err
	}
	if z.Hostmaster, err = expand(repl, "hostmaster", z.Hostmaster); err != nil {
		return z, err
	}
	z.Nameservers, z.Edge, z.CAA = slices.Clone(z.Nameservers), slices.Clone(z.Edge), slices.Clone(z.CAA)
	for i, n := range z.Nameservers {
		if n.Name, err = expand(repl, "nameserver", n.Name); err != nil {
			return z, err
		}
		n.Addresses = slices.Clone(n.Addresses)
		if err := expandAll(repl, "nameserver "+n.Name, n.Addresses); err != nil {
			return z, err
		}
		z.Nameservers[i] = n
	}
	if err := expandAll(repl, "edge", z.Edge); err != nil {
		return z, err
	}
	return z, expandAll(repl, "caa", z.CAA)
}
