// Package bench measures the product: what it does per second, how long a
// single thing takes and what it costs in memory. README.md lists every figure
// with the command that gave it.
package bench
