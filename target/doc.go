// Package target is what a record points at: gateways and proxies, how each
// serves a request and whether it is healthy. It knows nothing of records,
// ownership or DNS.
package target
