// Package freeport finds addresses for servers of tests.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// given has the addresses that were given out.
var given sync.Map

// Address is an address on loopback on which nobody listens, by TCP and UDP, another one
// each time. Its port lies below those that systems give to clients (on Linux from 32768
// on), so that none of them takes it before its server listens.
func Address(t testing.TB) string {
	t.Helper()
	for range 1000 {
		address := fmt.Sprint("127.0.0.1:", 10000+rand.IntN(22000))
		if free(address) {
			if _, again := given.LoadOrStore(address, struct{}{}); !again {
				return address
			}
		}
	}
	t.Fatal("no free port was found")
	return ""
}

func free(address string) bool {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	return u.Close() == nil
}
