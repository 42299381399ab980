// Package edge sees whether certificate authorities can get at our own edge by
// HTTP-01 and TLS-ALPN-01, before one is asked: it answers a challenge of its own
// and asks for it at the addresses that customers' hostnames lead to, as a CA does.
package edge
