package testnet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// AddIPv6 gives the network an IPv6 address and a route to its neighbours, which
// it has not else, and returns what takes it away again.
func AddIPv6(prefix string) (remove func() error, err error) {
	p, err := netip.ParsePrefix(prefix)
	if err != nil {
		return nil, fmt.Errorf("adding an IPv6 address: %w", err)
	}
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		return nil, fmt.Errorf("adding an IPv6 address: %w", err)
	}
	change := func(request uintptr) error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		// struct in6_ifreq of linux/ipv6.h
		arg := struct {
			addr  [16]byte
			bits  uint32
			index int32
		}{p.Addr().As16(), uint32(p.Bits()), int32(lo.Index)}
		if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(&arg))); errno != 0 {
			return errno
		}
		return nil
	}
	if err := change(unix.SIOCSIFADDR); err != nil && !errors.Is(err, unix.EEXIST) {
		return nil, fmt.Errorf("adding %s to lo: %w", prefix, err)
	}
	return func() error { return change(unix.SIOCDIFADDR) }, nil
}
