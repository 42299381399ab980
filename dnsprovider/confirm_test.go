package dnsprovider

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestConfirmAt(t *testing.T) {
	st := openStore(t)
	sets, other := runSets(t, st), runSets(t, st)
	here := mustListen(t, "127.0.0.1:0", ServerOptions{}, mustAuthority(t, mustZone(t, testConfig(), testRecords(), sets)))
	there := mustListen(t, "127.0.0.1:0", ServerOptions{}, mustAuthority(t, mustZone(t, testConfig(), testRecords(), other)))
	stale := mustListen(t, "127.0.0.1:0", ServerOptions{}, mustAuthority(t, mustZone(t, testConfig(), testRecords(), nil)))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	at := func(s *Server) netip.AddrPort { return netip.MustParseAddrPort(s.Addr().String()) }

	c := NewChallenges(sets, ConfirmAt(at(here), at(there), dead))
	if err := c.Present(t.Context(), "api.example.com", "value"); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err = NewChallenges(sets, ConfirmAt(at(here), at(stale))).Present(ctx, "api.example.com", "another")
	if err == nil || !strings.Contains(err.Error(), at(stale).String()) || strings.Contains(err.Error(), at(here).String()) {
		t.Errorf("error %v, want the stale server named alone", err)
	}
}
