// Package acmetest is a certificate authority in memory for the tests of other rooms.
package acmetest
