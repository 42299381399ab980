// Package ownership is the pure core: from a record, what was observed of it
// and the present time it derives conditions, phase, the DNS records the
// customer creates, a diagnosis of what is wrong with them, and when to look
// next. No I/O, no clock, no Caddy.
package ownership
