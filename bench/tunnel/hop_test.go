package tunnel

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// hopArgument makes of the test's program the bare hop: what follows it is where to
// listen and where to lead.
const hopArgument = "-bare-hop"

func TestMain(m *testing.M) {
	if len(os.Args) == 4 && os.Args[1] == hopArgument {
		fmt.Fprintln(os.Stderr, hop(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// hop takes off TLS and copies: the least that any encrypted way by another process
// costs. It carries one connection in each, frames nothing and shares nothing.
func hop(listen, to string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		return err
	}
	l, err := tls.Listen("tcp", listen, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	if err != nil {
		return err
	}
	for {
		in, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer in.Close()
			out, err := net.Dial("tcp", to)
			if err != nil {
				return // the connection's end says so
			}
			defer out.Close()
			go func() {
				_, _ = io.Copy(out, in) // whichever ends first ends both
				out.Close()
			}()
			_, _ = io.CopyBuffer(struct{ io.Writer }{in}, struct{ io.Reader }{out}, make([]byte, 64<<10))
		}()
	}
}
