package resolver

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// udpSize is the EDNS0 buffer size that is offered: what passes without
// fragments everywhere.
const udpSize = 1232

// Kinds of failure to get any answer at all.
var (
	errTimeout   = errors.New("no answer")
	errClosed    = errors.New("connection refused")
	errNoRoute   = errors.New("no route")
	errMalformed = errors.New("malformed answer")
)

// exchange asks one server one question: UDP, sent twice if need be, then TCP if
// the answer was cut short, or there was none and the server is a stranger's: one
// that a customer's DNS names. What goes to such a one is paid for, and where the
// ration is small nothing is sent again. The caller holds a place in the gate of
// the domain; exchange takes one of the slots for all.
func (r *Resolver) exchange(ctx context.Context, to netip.AddrPort, q dns.Question, flags queryFlags, strangers bool) (*dns.Msg, error) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	case <-ctx.Done():
		return nil, errTimeout
	}
	pay := func() error { return nil }
	if strangers {
		pay = func() error { return r.pay(ctx, to.Addr()) }
	}
	once := strangers && RationOf(ctx).few()
	edns := true
	for {
		m := query(q, flags, edns)
		in, err := r.overUDP(ctx, to, m, once, pay)
		hopeless := errors.Is(err, errNoRoute) || errors.Is(err, errSpent) || ctx.Err() != nil
		if (err == nil && in.Truncated) || (err != nil && strangers && !once && !hopeless) {
			in, err = r.overTCP(ctx, to, m, pay)
		}
		if err == nil && edns && (in.Rcode == dns.RcodeFormatError || in.Rcode == dns.RcodeNotImplemented) {
			edns = false // older than RFC 6891
			continue
		}
		return in, err
	}
}

type queryFlags struct {
	recursion        bool
	checkingDisabled bool
}

func query(q dns.Question, f queryFlags, edns bool) *dns.Msg {
	m := &dns.Msg{Question: []dns.Question{q}}
	m.Id = dns.Id()
	m.RecursionDesired = f.recursion
	m.CheckingDisabled = f.checkingDisabled
	if edns {
		m.SetEdns0(udpSize, false)
	}
	return m
}

// conversation dials and bounds everything that happens on the connection by
// both the context and the query timeout.
func (r *Resolver) conversation(ctx context.Context, network string, to netip.AddrPort, talk func(net.Conn) (*dns.Msg, error)) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.QueryTimeout)
	defer cancel()
	conn, err := dial(ctx, network, to)
	if err != nil {
		return nil, classed(err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	in, err := talk(conn)
	if err != nil {
		return nil, classed(err)
	}
	return in, nil
}

// dial connects a socket of its own, so that each question over UDP has a port that
// nobody can guess (RFC 5452, section 9.2). A context that has ended is its error.
func dial(ctx context.Context, network string, to netip.AddrPort) (net.Conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if network == "udp" { // which waits for nobody
		return net.DialUDP(network, nil, net.UDPAddrFromAddrPort(to))
	}
	return new(net.Dialer).DialContext(ctx, network, to.String())
}

// overUDP sends a question, once or, if there is no answer soon, again; each
// time is paid for.
func (r *Resolver) overUDP(ctx context.Context, to netip.AddrPort, m *dns.Msg, once bool, pay func() error) (*dns.Msg, error) {
	return r.conversation(ctx, "udp", to, func(conn net.Conn) (*dns.Msg, error) {
		out, err := m.Pack()
		if err != nil {
			return nil, fmt.Errorf("packing the question: %w", err)
		}
		if err := pay(); err != nil {
			return nil, err
		}
		if _, err := conn.Write(out); err != nil {
			return nil, err
		}
		if !once {
			again := time.AfterFunc(r.cfg.QueryTimeout*2/5, func() {
				if pay() == nil {
					conn.Write(out)
				}
			})
			defer again.Stop()
		}
		p := buffers.Get().(*[]byte)
		defer buffers.Put(p) // Unpack copies what it keeps
		buf := *p
		malformed := false
		for {
			n, err := conn.Read(buf)
			if err != nil {
				if malformed {
					return nil, errMalformed
				}
				return nil, err
			}
			in := new(dns.Msg)
			if err := in.Unpack(buf[:n]); err != nil {
				malformed = malformed || (n >= 2 && binary.BigEndian.Uint16(buf) == m.Id)
				continue
			}
			if answers(in, m) {
				return in, nil
			}
		}
	})
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 4096); return &b }}

// overTCP asks on a connection of its own, which is paid for.
func (r *Resolver) overTCP(ctx context.Context, to netip.AddrPort, m *dns.Msg, pay func() error) (*dns.Msg, error) {
	if err := pay(); err != nil {
		return nil, err
	}
	return r.conversation(ctx, "tcp", to, func(conn net.Conn) (*dns.Msg, error) {
		out, err := m.Pack()
		if err != nil {
			return nil, fmt.Errorf("packing the question: %w", err)
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(out))), out...)); err != nil {
			return nil, err
		}
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return nil, err
		}
		buf := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, buf); err != nil {
			return nil, err
		}
		in := new(dns.Msg)
		if err := in.Unpack(buf); err != nil || !answers(in, m) {
			return nil, errMalformed
		}
		return in, nil
	})
}

// answers reports whether in is an answer to m and not to something else.
func answers(in, m *dns.Msg) bool {
	if !in.Response || in.Id != m.Id || in.Opcode != m.Opcode {
		return false
	}
	if len(in.Question) == 0 { // some servers leave it out when they refuse
		return in.Rcode != dns.RcodeSuccess && in.Rcode != dns.RcodeNameError
	}
	a, b := in.Question[0], m.Question[0]
	return len(in.Question) == 1 && a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

func classed(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return errTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return errClosed
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		return errNoRoute
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET):
		return errClosed
	}
	return err
}

// routeToIPv6 reports whether this machine has any way to IPv6 addresses. No
// packet is sent.
func routeToIPv6() bool {
	conn, err := net.Dial("udp6", "[2001:4860:4860::8888]:53")
	if err != nil {
		return false
	}
	conn.Close()
	return true
}
