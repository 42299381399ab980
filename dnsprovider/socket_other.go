//go:build !linux

package dnsprovider

import (
	"net"
	"syscall"
)

// Elsewhere than on Linux one socket serves each address, and the kernel
// chooses the address that an answer leaves from: bind single addresses on a
// machine that has several.
const (
	reusePort = false
	oobSize   = 0
)

func shareAddress(_, _ string, _ syscall.RawConn) error { return nil }

func retire(*net.UDPConn) {}

func queued(*net.UDPConn) bool { return false }

func enlarge(conn *net.UDPConn, size int) error { return conn.SetReadBuffer(size) }

func wantDestination(*net.UDPConn) error { return nil }

func replyFrom([]byte) []byte { return nil }
