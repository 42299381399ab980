// Package dnstest is a DNS world for unit tests: zones held by in-memory name
// servers on loopback, well behaved and hostile ones.
package dnstest
