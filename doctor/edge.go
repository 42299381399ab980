package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	edgeTimeout = 5 * time.Second
	// stranger is a hostname that nobody serves (RFC 2606).
	stranger = "doctor.invalid"
)

// door is one port at one edge address.
type door struct {
	addr netip.Addr
	port uint16
	tls  bool
	// answer is what came: an HTTP status with the server's name, or how the
	// TLS handshake went. err: nothing did.
	answer string
	// caddy: the answer tells that Caddy is behind it.
	caddy bool
	err   error
}

// gatherEdge knocks at the ports of every edge address.
func gatherEdge(ctx context.Context, s Setup, rs []resolver, httpPort, httpsPort uint16) []door {
	addrs := s.EdgeAddresses
	switch {
	case s.EdgeUnchecked:
		return nil
	case len(s.EdgeCheck) > 0:
		addrs = s.EdgeCheck
	case s.EdgeHost != "":
		addrs = resolveAddresses(ctx, rs, s.EdgeHost)
	}
	var out []door
	for _, addr := range addrs {
		out = append(out, door{addr: addr, port: httpPort}, door{addr: addr, port: httpsPort, tls: true})
	}
	var wg sync.WaitGroup
	for i := range out {
		d := &out[i]
		wg.Go(func() {
			d.knock(ctx)
			// Where the operator names the addresses, Caddy's own ports will do.
			own := door{addr: d.addr, port: uint16(s.HTTPPort), tls: d.tls}
			if d.tls {
				own.port = uint16(s.HTTPSPort)
			}
			if len(s.EdgeCheck) == 0 || d.err == nil || own.port == 0 || own.port == d.port {
				return
			}
			if own.knock(ctx); own.err == nil {
				*d = own
			}
		})
	}
	wg.Wait()
	return out
}

func (d *door) knock(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, edgeTimeout)
	defer cancel()
	if d.tls {
		d.shake(ctx)
	} else {
		d.visit(ctx)
	}
}

func (d *door) at() string { return net.JoinHostPort(d.addr.String(), strconv.Itoa(int(d.port))) }

// visit asks over HTTP for a host that nobody serves.
func (d *door) visit(ctx context.Context) {
	client := &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+d.at()+"/", nil)
	if err != nil {
		d.err = err
		return
	}
	req.Host = stranger
	resp, err := client.Do(req)
	if err != nil {
		d.err = err
		return
	}
	resp.Body.Close()
	server := resp.Header.Get("Server")
	d.answer = fmt.Sprintf("status %d, Server %q", resp.StatusCode, server)
	d.caddy = server == "Caddy" || resp.StatusCode == http.StatusMisdirectedRequest
}

// shake begins a TLS handshake for a host that nobody serves: a refusal in TLS'
// own words is as good a sign of life as a success.
func (d *door) shake(ctx context.Context) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", d.at())
	if err != nil {
		d.err = err
		return
	}
	defer conn.Close()
	// Whose certificate comes does not matter here, only that TLS is spoken.
	client := tls.Client(conn, &tls.Config{ServerName: stranger, InsecureSkipVerify: true})
	err = client.HandshakeContext(ctx)
	var op *net.OpError
	switch {
	case err == nil:
		d.answer = "TLS, with a certificate for a host that nobody serves"
	case errors.As(err, &op) && op.Op == "remote error":
		d.answer, d.caddy = "TLS, which refuses a host that nobody serves", true
	default:
		d.err = fmt.Errorf("the TLS handshake fails: %w", err)
	}
}

func judgeEdge(s Setup, doors []door) []Finding {
	const check = "edge"
	var out []Finding
	if s.EdgeUnchecked {
		return []Finding{finding(Note, check, s.Zone, "edge_check is off, so nothing is asked", "ports 80 and 443 open at the addresses of the edge",
			"see from another machine that they are; orders go out without a look at them")}
	}
	if len(doors) == 0 {
		return []Finding{finding(Wrong, check, s.EdgeHost, "the resolvers find no address", "the addresses of the edge",
			"create A and AAAA records for "+s.EdgeHost+", or name addresses in `edge`")}
	}
	for _, d := range doors {
		listens, scheme := s.HTTPPort, "HTTP"
		if d.tls {
			listens, scheme = s.HTTPSPort, "HTTPS"
		}
		mend := fmt.Sprintf("open the port in the firewall and see that Caddy serves %s there (it listens on %d); certificate authorities and visitors come to it", scheme, listens)
		switch {
		case d.err != nil && unroutable(d.err):
			out = append(out, finding(Note, check, d.at(), "this machine has no route to it", scheme,
				"ask from a machine that has; if the address is not in use, remove it from `edge`, since an authority may try it first"))
		case d.err != nil && hungUp(d.err):
			out = append(out, finding(Note, check, d.at(), "it closes the connection without an answer", scheme,
				"if it expects the PROXY protocol, it is right and only this question fails: name in the zone's edge_check what to ask in its place; otherwise "+mend))
		case d.err != nil:
			out = append(out, finding(Wrong, check, d.at(), unwrapped(d.err), scheme,
				mend+". If other machines reach it, this one cannot reach its own public address (no hairpin NAT): run the doctor elsewhere, with --address, and say in the zone's edge_check what to ask"))
		case !d.caddy:
			out = append(out, finding(Note, check, d.at(), d.answer, "421 or a refused handshake, as Caddy answers for strangers",
				"if that is not a load balancer of yours before Caddy, another server has the port"))
		default:
			out = append(out, ok(check, d.at(), "%s", d.answer))
		}
	}
	return out
}

func unroutable(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

// hungUp reports whether a connection came about and ended without a word, as where
// the PROXY protocol is expected.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// unwrapped puts a network error into its own words.
func unwrapped(err error) string {
	var sys syscall.Errno
	switch {
	case timedOut(err) || errors.Is(err, context.DeadlineExceeded):
		return "no answer"
	case errors.As(err, &sys):
		return sys.Error()
	}
	return err.Error()
}
