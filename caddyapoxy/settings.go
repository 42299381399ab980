package caddyapoxy

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// The shortest that make sense: below, the looks at one record would follow
// each other without a pause, and one failed look would take a domain down.
const (
	leastCheckInterval  = 10 * time.Millisecond
	leastDetachAfter    = 100 * time.Millisecond
	leastFleetBrakeHold = 100 * time.Millisecond
)

// provisionSettings replaces placeholders, fills in defaults and checks what the
// Caddyfile's parser cannot have checked.
func (a *App) provisionSettings(repl *caddy.Replacer) error {
	if len(a.DNS) == 0 {
		a.DNS = []string{":53"}
	}
	for option, texts := range map[string][]string{"dns": a.DNS, "resolvers": a.Resolvers, "private_networks": a.PrivateNetworks} {
		if err := expandAll(repl, option, texts); err != nil {
			return err
		}
	}
	for _, s := range a.DNS {
		if hasPlaceholder(s) || !isListenAddress(s) {
			return fmt.Errorf("dns: expected a listen address such as :53 or 203.0.113.10:53, got %q", s)
		}
	}
	if err := a.checkRateLimit(); err != nil {
		return err
	}
	for _, s := range a.Resolvers {
		if hasPlaceholder(s) || !isResolver(s) {
			return fmt.Errorf("resolvers: expected an IP address with or without a port, got %q", s)
		}
	}
	var err error
	if a.privateNetworks, err = readNetworks(a.PrivateNetworks); err != nil {
		return err
	}
	if a.CheckInterval == 0 {
		a.CheckInterval = caddy.Duration(ownership.DefaultCheckInterval)
	}
	if a.DetachAfter == 0 {
		a.DetachAfter = caddy.Duration(ownership.DefaultDetachAfter)
	}
	if a.FleetBrakeHold == 0 {
		a.FleetBrakeHold = caddy.Duration(ownership.DefaultFleetBrakeHold)
	}
	if a.Node, err = expand(repl, "node", a.Node); err != nil {
		return err
	}
	if a.Node == "" {
		a.Node = hostNode()
	}
	if err := checkNode(a.Node); err != nil {
		return err
	}
	if a.Proof, err = expand(repl, "proof", a.Proof); err != nil {
		return err
	}
	if a.Proof == "" {
		a.Proof = proofCNAME
	}
	if err := errors.Join(a.checkDurations(), checkProof(a.Proof)); err != nil {
		return err
	}
	a.settings = ownership.Settings{
		Zone:           observed(a.zone),
		CheckInterval:  time.Duration(a.CheckInterval),
		DetachAfter:    time.Duration(a.DetachAfter),
		FleetBrakeHold: time.Duration(a.FleetBrakeHold),
		ProofToken:     a.Proof == proofToken,
		UnprovenTTL:    time.Duration(a.UnprovenTTL),
	}
	return nil
}

// checkDurations refuses what can only be a mistake, such as seconds written as
// a bare number, which is nanoseconds. Zero is the default.
func (a *App) checkDurations() error {
	for _, o := range []struct {
		name         string
		value, least time.Duration
	}{
		{"check_interval", time.Duration(a.CheckInterval), leastCheckInterval},
		{"detach_after", time.Duration(a.DetachAfter), leastDetachAfter},
		{"fleet_brake_hold", time.Duration(a.FleetBrakeHold), leastFleetBrakeHold},
		{"unproven_ttl", time.Duration(a.UnprovenTTL), 1},
	} {
		if o.value != 0 && o.value < o.least {
			return fmt.Errorf(`%s: expected at least %s, got %s: give a number and its unit, such as "30s"`, o.name, o.least, o.value)
		}
	}
	return nil
}

// The values of proof.
const (
	proofCNAME = "cname"
	proofToken = "token"
)

func checkProof(proof string) error {
	if proof != proofCNAME && proof != proofToken && !isPlaceholder(proof) {
		return fmt.Errorf("proof: expected cname or token, got %q", proof)
	}
	return nil
}
