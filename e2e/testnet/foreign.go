package testnet

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net/http"
	"sync"
)

// ForeignBody is what the foreign web server answers to everything.
const ForeignBody = "foreign"

// startForeign serves every host name over HTTP and HTTPS, with certificates
// from ca, as the place that customers migrate from.
func startForeign(ca *Authority) error {
	var mu sync.Mutex
	certs := map[string]*tls.Certificate{}
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, ForeignBody) // a client that has gone is its own problem
		}),
		ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			mu.Lock()
			defer mu.Unlock()
			cert, err := certs[hello.ServerName], error(nil)
			if cert == nil {
				cert, err = ca.Issue(hello.ServerName)
				certs[hello.ServerName] = cert
			}
			return cert, err
		}},
	}
	for port, serve := range map[string]func(server *http.Server) error{
		"80":  func(s *http.Server) error { return s.ListenAndServe() },
		"443": func(s *http.Server) error { return s.ListenAndServeTLS("", "") },
	} {
		one := &http.Server{Addr: ForeignAddr + ":" + port, Handler: server.Handler, ErrorLog: server.ErrorLog, TLSConfig: server.TLSConfig.Clone()}
		go func() { _ = serve(one) }() // ends with the process
	}
	return Until(5e9, "the foreign web server", func() error {
		for _, port := range []string{"80", "443"} {
			if err := dial(ForeignAddr + ":" + port); err != nil {
				return fmt.Errorf("dialing the foreign web server: %w", err)
			}
		}
		return nil
	})
}
