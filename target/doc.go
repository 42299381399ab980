// Package target is what a record points at: gateways, proxies and others, how each
// serves a request and whether it is healthy. It knows nothing of records,
// ownership or DNS.
package target
