package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkHeld counts the requests that reach a CA which has asked to wait,
// while 1,000 hostnames are due, a handshake asks for each of them, and the
// product is restarted.
func BenchmarkHeld(b *testing.B) {
	w := newWorld(b)
	var requests, holds atomic.Int64
	directory := w.gate(b, &requests, &holds)
	p := w.product(b, "held", many, directory)
	p.create(b, 0)
	until(b, 30*time.Second, "the CA to be asked", func() error {
		if holds.Load() == 0 {
			return fmt.Errorf("not yet: %s", p.tail())
		}
		return nil
	})
	time.Sleep(500 * time.Millisecond) // what is under way arrives
	before, began := requests.Load(), time.Now()
	for i := 1; i < many; i++ {
		if err := p.submit(hostname(i, ours)); err != nil {
			b.Fatal(err)
		}
	}
	for i := range many {
		if _, err := w.handshake(hostname(i, ours)); err == nil {
			b.Fatal("a hostname without a certificate was given one")
		}
	}
	p.stop()
	p = w.product(b, "held", many, directory)
	for i := range many {
		if _, err := w.handshake(hostname(i, ours)); err == nil {
			b.Fatal("a hostname without a certificate was given one")
		}
	}
	time.Sleep(5 * time.Second) // for whatever a timer might do
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(requests.Load()-before), "requests")
	b.ReportMetric(time.Since(began).Seconds(), "s")
	p.stop()
}

// gate is a proxy before the CA that counts requests and holds new orders.
func (w *world) gate(b *testing.B, requests, holds *atomic.Int64) (directory string) {
	b.Helper()
	trust, err := os.ReadFile(w.trust)
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(trust)
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
		ErrorLog:  log.New(io.Discard, "", 0),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "https", Host: fmt.Sprintf("127.0.0.1:%d", w.acme)})
			r.Out.Host = r.In.Host
		},
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	server := &http.Server{
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{*w.cert}},
		ErrorLog:  log.New(io.Discard, "", 0),
		Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if strings.HasPrefix(r.URL.Path, "/order-plz") {
				holds.Add(1)
				rw.Header().Set("Retry-After", "3600")
				rw.Header().Set("Content-Type", "application/problem+json")
				rw.WriteHeader(http.StatusTooManyRequests)
				fmt.Fprint(rw, `{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many new orders (300) from this account in the last 3h0m0s"}`)
				return
			}
			proxy.ServeHTTP(rw, r)
		}),
	}
	go func() { _ = server.ServeTLS(l, "", "") }() // ends with Close
	b.Cleanup(func() { server.Close() })
	return "https://" + l.Addr().String() + "/dir"
}
