//go:build !linux

package boltstore

// readAhead does nothing here: it is left to the system.
func readAhead(string, <-chan struct{}) {}
