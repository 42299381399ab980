// Package e2e runs the product against real peers: NSD as the root, the TLDs and
// the customers' DNS provider, Unbound as everyone's resolver, Pebble as the CA,
// kubectl and Chromium as clients. The tests know the product by its contract
// alone (Caddyfile, admin API, command line, DNS, HTTP) and import none of it.
package e2e
