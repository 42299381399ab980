package dnsprovider

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// reusePort says that several sockets may share an address, so that each core
// can have its own.
const reusePort = true

// oobSize holds the packet-info control messages of IPv4 and IPv6.
const oobSize = 128

// shareAddress lets further sockets of ours bind the same address.
func shareAddress(_, _ string, c syscall.RawConn) error {
	var opt error
	err := c.Control(func(fd uintptr) {
		opt = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	})
	if err != nil {
		return err
	}
	return opt
}

// retire has the kernel give new datagrams to other sockets that share the
// address: one that is connected gets only its peer's. What is queued stays. If
// that fails, what arrives before the socket is closed is lost.
func retire(conn *net.UDPConn) {
	own := conn.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	var peer unix.Sockaddr
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		if family, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
			return
		} else if family == unix.AF_INET6 {
			if own.IsUnspecified() {
				own = netip.IPv6Loopback()
			}
			peer = &unix.SockaddrInet6{Port: 1, Addr: own.As16()}
		} else {
			if own.IsUnspecified() {
				own = netip.AddrFrom4([4]byte{127, 0, 0, 1})
			}
			peer = &unix.SockaddrInet4{Port: 1, Addr: own.As4()}
		}
		_ = unix.Connect(int(fd), peer)
	})
}

// queued reports whether a datagram has arrived that was not read yet.
func queued(conn *net.UDPConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	found := false
	err = raw.Control(func(fd uintptr) {
		_, _, err := unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
		found = err == nil
	})
	return err == nil && found
}

// wantDestination makes the kernel tell which address a datagram was sent to,
// so that on a wildcard address the answer can leave from there.
func wantDestination(conn *net.UDPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("reaching the socket: %w", err)
	}
	var v4, v6 error
	err = raw.Control(func(fd uintptr) {
		v4 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		v6 = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	})
	if err != nil {
		return fmt.Errorf("reaching the socket: %w", err)
	}
	if v4 != nil && v6 != nil {
		return fmt.Errorf("asking for destination addresses: %w", v4)
	}
	return nil
}

// enlarge makes the receive buffer larger: whatever the limit of the system is, where
// we may (CAP_NET_ADMIN), else up to it.
func enlarge(conn *net.UDPConn, size int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return fmt.Errorf("reaching the socket: %w", err)
	}
	var forced error
	err = raw.Control(func(fd uintptr) {
		forced = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size)
	})
	if err == nil && forced == nil {
		return nil
	}
	return conn.SetReadBuffer(size)
}

// replyFrom turns the control message that a datagram came with, in place, into
// the one that makes the answer leave from the address it was sent to. What
// remains is nil if there is nothing to say.
func replyFrom(oob []byte) []byte {
	const header = unix.SizeofCmsghdr
	for rest := oob; len(rest) >= header; {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&rest[0]))
		if uint64(h.Len) < header || uint64(h.Len) > uint64(len(rest)) {
			return nil
		}
		body := rest[header:h.Len]
		switch {
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(body) >= unix.SizeofInet4Pktinfo:
			// struct in_pktinfo: interface, local address, destination. The
			// routing table chooses the interface.
			clear(body[:4])
			return rest[:unix.CmsgSpace(unix.SizeofInet4Pktinfo)]
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(body) >= unix.SizeofInet6Pktinfo:
			// struct in6_pktinfo: destination, interface, which link-local
			// addresses need.
			if binary.BigEndian.Uint16(body)&0xffc0 != 0xfe80 {
				clear(body[16:20])
			}
			return rest[:unix.CmsgSpace(unix.SizeofInet6Pktinfo)]
		}
		next := unix.CmsgSpace(int(h.Len) - header)
		if next > len(rest) {
			return nil
		}
		rest = rest[next:]
	}
	return nil
}
