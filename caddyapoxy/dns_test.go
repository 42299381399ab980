package caddyapoxy

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
)

func TestBindMend(t *testing.T) {
	for _, c := range []struct {
		name    string
		err     error
		address string
		held    []string
		says    string
	}{
		{"a stranger has the port", syscall.EADDRINUSE, ":53", nil, "another program"},
		{"we answer on another port and another address", syscall.EADDRINUSE, "127.0.0.1:53", []string{":5353", "127.0.0.2:53"}, "another program"},
		{"we answer on one address and are to answer on all", syscall.EADDRINUSE, ":53", []string{"127.0.0.1:53"}, "answers on 127.0.0.1:53 already, which overlaps"},
		{"we answer on all addresses and are to answer on one", syscall.EADDRINUSE, "127.0.0.1:53", []string{"[::]:53"}, "restart Caddy"},
		{"no right to the port", syscall.EACCES, ":53", nil, "CAP_NET_BIND_SERVICE"},
		{"an address of another machine", syscall.EADDRNOTAVAIL, "192.0.2.1:53", nil, "this machine has the address"},
		{"anything else", errors.New("x"), ":53", nil, "`dns`"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := bindMend(fmt.Errorf("binding: %w", c.err), c.address, c.held); !strings.Contains(got, c.says) {
				t.Errorf("%q does not say %q", got, c.says)
			}
		})
	}
}
