package testnet

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Responder is an OCSP responder (RFC 6960): openssl's, over the index of
// certificates that openssl's CA keeps.
type Responder struct {
	// URL is what certificates name.
	URL  string
	port string
	proc *Process
}

// NewResponder says where a responder will be; it runs once it serves. openssl
// listens on all of the network's addresses.
func NewResponder(addr, port string) *Responder {
	return &Responder{URL: "http://" + net.JoinHostPort(addr, port) + "/", port: port}
}

// Status is a line of the index: a certificate that is good, or revoked at a
// time for a reason by its name.
type Status struct {
	Serial    string // hexadecimal
	NotAfter  time.Time
	RevokedAt time.Time
	Reason    string
}

func (s Status) String() string {
	const stamp = "060102150405Z"
	serial := strings.ToUpper(s.Serial)
	if len(serial)%2 == 1 {
		serial = "0" + serial
	}
	status, revoked := "V", ""
	if !s.RevokedAt.IsZero() {
		status, revoked = "R", s.RevokedAt.UTC().Format(stamp)+","+s.Reason
	}
	return strings.Join([]string{status, s.NotAfter.UTC().Format(stamp), revoked, serial, "unknown", "/CN=" + serial}, "\t") + "\n"
}

// Serve starts the responder, or starts it again, because openssl looks at its
// index only when it starts and after an answer. It knows one certificate, signs
// as the issuer, whose certificate and key are given in PEM, and promises an
// update in two minutes.
func (r *Responder) Serve(cert, key []byte, status Status) error {
	r.Stop()
	dir := filepath.Join(Dir(), "responder-"+r.port)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the directory of the OCSP responder: %w", err)
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	for name, text := range map[string][]byte{"index.txt": []byte(status.String()), "cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(file(name), text, 0o600); err != nil {
			return fmt.Errorf("writing %s of the OCSP responder: %w", name, err)
		}
	}
	before := bytes.Count(r.Log(), waiting)
	var err error
	r.proc, err = Spawn("responder-"+r.port, nil, "openssl", "ocsp", "-index", file("index.txt"), "-port", r.port, "-text",
		"-rsigner", file("cert.pem"), "-rkey", file("key.pem"), "-CA", file("cert.pem"), "-nmin", "2")
	if err != nil {
		return err
	}
	// A connection without a request, as a sign of life, would block it.
	return Until(10*time.Second, "the OCSP responder", func() error {
		if bytes.Count(r.Log(), waiting) == before {
			return fmt.Errorf("it says %q", r.Log())
		}
		return nil
	})
}

var waiting = []byte("waiting for OCSP client connections")

// Stop ends the responder.
func (r *Responder) Stop() {
	if r.proc != nil {
		r.proc.Kill()
	}
}

// Log is what the responder has written, its answers among it.
func (r *Responder) Log() []byte {
	if r.proc == nil {
		return nil
	}
	return r.proc.Log()
}
