// Package edge finds out whether certificate authorities can reach our own edge for
// HTTP-01 and TLS-ALPN-01, before an order is placed: it puts a challenge of its own in
// place and asks for it at the addresses that customers' hostnames lead to, as a CA does.
package edge
