// Reload counts the fresh HTTPS connections that a reload of Caddy's configuration cuts.
// run.sh starts it beside a Caddy, in a network of their own:
//
//	sudo bench/reload/run.sh CADDY 0
//	sudo bench/reload/run.sh CADDY 1
//
// where the number is the kernel's net.ipv4.tcp_migrate_req.
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	address = "127.0.0.1:443"
	clients = 8
	reloads = 20
	pause   = 200 * time.Millisecond // between two reloads
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: reload CADDY CADDYFILE")
		os.Exit(2)
	}
	var total, unanswered, reset, other atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				total.Add(1)
				switch err := ask(); {
				case err == nil:
				case errors.Is(err, io.EOF):
					unanswered.Add(1)
				case errors.Is(err, syscall.ECONNRESET):
					reset.Add(1)
				default:
					other.Add(1)
				}
			}
		})
	}
	for range reloads {
		time.Sleep(pause)
		if out, err := exec.Command(os.Args[1], "reload", "--force", "--config", os.Args[2], "--adapter", "caddyfile").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "reloading: %v: %s\n", err, out)
			os.Exit(1)
		}
	}
	close(stop)
	all.Wait()
	fmt.Printf("%d reloads, %d clients: of %d connections %d without an answer, %d reset, %d failed otherwise\n",
		reloads, clients, total.Load(), unanswered.Load(), reset.Load(), other.Load())
}

// ask opens a connection and asks one thing over it.
func ask() error {
	c, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}) // it is counted, not trusted
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = io.ReadAtLeast(c, make([]byte, 16), 16)
	return err
}
