package tunnel

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// world is a Caddy with one site for each way to the backend, and what the ways
// need beside it.
type world struct {
	dir, edge string
	ways      []string
	used      map[string][]int // the processes that a way goes through
}

// sshdProgram is in Debian's openssh-server; SSHD names another one.
func sshdProgram() string {
	if p := os.Getenv("SSHD"); p != "" {
		return p
	}
	return "/usr/sbin/sshd"
}

func newWorld(b *testing.B) *world {
	w := &world{dir: b.TempDir(), edge: port(b), ways: []string{"direct", "tunnel", "tls"}, used: map[string][]int{}}
	origin, forwarded, encrypted := backend(b), port(b), port(b)
	for _, program := range []string{"caddy", "apoxy-tunnel"} {
		if out, err := exec.Command("go", "build", "-C", "../..", "-o", w.file(program), "./cmd/"+program).CombinedOutput(); err != nil {
			b.Fatalf("building %s: %v: %s", program, err, out)
		}
	}
	caddy := w.start(b, w.file("caddy"), "run", "--config", w.write(b, "Caddyfile", w.caddyfile(b, origin, forwarded, encrypted)), "--adapter", "caddyfile")
	b.Cleanup(func() {
		if b.Failed() {
			log, _ := os.ReadFile(w.file("caddy.log"))
			b.Logf("Caddy's log ends:\n%s", log[max(0, len(log)-4000):])
		}
	})
	await(b, "Caddy", func() error {
		c, err := tls.Dial("tcp", w.edge, &tls.Config{InsecureSkipVerify: true, ServerName: "direct.test"})
		if err == nil {
			c.Close()
		}
		return err
	})
	_, edgePort, _ := net.SplitHostPort(w.edge)
	agent := w.start(b, w.file("apoxy-tunnel"), "office", "--edge", "https://localhost:"+edgePort, "--to", "http://"+origin,
		"--token-file", w.write(b, "token", "secret"), "--ca", w.file("pki/authorities/local/root.crt"))
	hop := w.start(b, os.Args[0], hopArgument, encrypted, origin)
	await(b, "the bare hop", func() error { return dial(encrypted) })
	w.used["direct"], w.used["tunnel"], w.used["tls"] = []int{caddy}, []int{caddy, agent}, []int{caddy, hop}
	if _, err := os.Stat(sshdProgram()); err != nil {
		b.Logf("ssh is left out: %s is not there; apt-get install openssh-server, or set SSHD", sshdProgram())
	} else {
		w.ways = append(w.ways, "ssh")
		w.used["ssh"] = append([]int{caddy}, w.ssh(b, origin, forwarded)...)
	}
	for _, way := range w.ways {
		await(b, way, func() error { return w.once(way) })
	}
	return w
}

func (w *world) caddyfile(b *testing.B, origin, forwarded, encrypted string) string {
	_, edgePort, _ := net.SplitHostPort(w.edge)
	return fmt.Sprintf(`{
	admin off
	persist_config off
	skip_install_trust
	auto_https disable_redirects
	storage file_system %[1]s
	default_bind 127.0.0.1 ::1
	log {
		level ERROR
	}
	apoxy {
		zone cname.example.net {
			nameserver ns1.example.net 192.0.2.1
			edge 192.0.2.1
		}
		dns %[2]s
		resolvers %[2]s
		store bolt %[1]s/apoxy.db
	}
}
https://localhost:%[3]s {
	tls internal
	apoxy {
		tunnel office {
			token secret
		}
	}
}
https://direct.test:%[3]s {
	tls internal
	reverse_proxy %[4]s
}
https://tunnel.test:%[3]s {
	tls internal
	reverse_proxy office:80 {
		transport apoxy_tunnel office
	}
}
https://ssh.test:%[3]s {
	tls internal
	reverse_proxy %[5]s
}
https://tls.test:%[3]s {
	tls internal
	reverse_proxy %[6]s {
		transport http {
			tls_insecure_skip_verify
			versions 1.1
			keepalive_idle_conns_per_host 1000
		}
	}
}
`, w.dir, port(b), edgePort, origin, forwarded, encrypted)
}

// ssh forwards a port of the edge to the backend: a server of ours beside the
// edge, a client of ours beside the backend. Its processes are returned.
func (w *world) ssh(b *testing.B, origin, forwarded string) []int {
	for _, key := range []string{"host", "client"} {
		if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", w.file(key)).CombinedOutput(); err != nil {
			b.Fatalf("making a key: %v: %s", err, out)
		}
	}
	public, err := os.ReadFile(w.file("client.pub"))
	if err != nil {
		b.Fatal(err)
	}
	if os.Getuid() == 0 { // it wants the directory of its privilege separation
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			b.Fatal(err)
		}
	}
	address := port(b)
	host, p, _ := net.SplitHostPort(address)
	config := w.write(b, "sshd_config", fmt.Sprintf("Port %s\nListenAddress %s\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n",
		p, host, w.file("host"), w.write(b, "authorized", string(public))))
	server := w.start(b, sshdProgram(), "-D", "-e", "-f", config)
	await(b, "sshd", func() error { return dial(address) })
	me, err := user.Current()
	if err != nil {
		b.Fatal(err)
	}
	client := w.start(b, "ssh", "-N", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
		"-o", "ExitOnForwardFailure=yes", "-i", w.file("client"), "-R", forwarded+":"+origin, "-p", p, me.Username+"@"+host)
	await(b, "the forwarded port", func() error { return dial(forwarded) })
	return []int{server, client}
}

// start runs a program until the benchmark ends and returns its process.
func (w *world) start(b *testing.B, program string, args ...string) int {
	b.Helper()
	log, err := os.Create(w.file(filepath.Base(program) + ".log"))
	if err != nil {
		b.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "HOME="+w.dir, "XDG_DATA_HOME="+w.dir, "XDG_CONFIG_HOME="+w.dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := cmd.Start(); err != nil {
		b.Fatalf("starting %s: %v", program, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // its status is of no interest
	}()
	b.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
			<-done
		}
	})
	return cmd.Process.Pid
}

// cpu is the processor time of the processes that a way goes through, and of their
// children.
func (w *world) cpu(b *testing.B, way string) (sum time.Duration) {
	b.Helper()
	stats := map[int][]string{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, fields, ok := bytes.Cut(raw, []byte(") "))
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file))); ok && err == nil {
			stats[pid] = strings.Fields(string(fields)) // proc(5): from the third field on
		}
	}
	for pid, f := range stats {
		for up := pid; up > 1; {
			if slices.Contains(w.used[way], up) {
				user, _ := strconv.Atoi(f[11])
				system, _ := strconv.Atoi(f[12])
				sum += time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100
				break
			}
			parent, ok := stats[up]
			if !ok {
				break
			}
			up, _ = strconv.Atoi(parent[1])
		}
	}
	return sum
}

// once sends one request a way.
func (w *world) once(way string) error {
	c, err := tls.Dial("tcp", w.edge, &tls.Config{InsecureSkipVerify: true, ServerName: way + ".test"})
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprintf(c, "GET /0 HTTP/1.1\r\nHost: %s.test\r\nConnection: close\r\n\r\n", way)
	line := make([]byte, 12)
	if _, err := c.Read(line); err != nil {
		return err
	}
	if string(line) != "HTTP/1.1 200" {
		return fmt.Errorf("answered %q", line)
	}
	return nil
}

func (w *world) file(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(b *testing.B, name, content string) string {
	if err := os.WriteFile(w.file(name), []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
	return w.file(name)
}

func port(b *testing.B) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func dial(address string) error {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return err
}

func await(b *testing.B, what string, ok func() error) {
	b.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = ok(); err == nil {
			return
		}
	}
	b.Fatalf("waiting for %s: %v", what, err)
}
