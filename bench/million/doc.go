// Package million measures the whole product, `caddy run`, with a million records of
// which each has a certificate in the index: its start, its memory, what lists, reloads
// and writes take, and what it does while nothing happens. The customers' DNS is in the
// process that measures, in a network namespace of its own.
package million
