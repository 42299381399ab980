package dns

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// server is a name server in a process of its own, on the first core or on both.
type server struct {
	name, log string
	port      int
	cores     int
	cmd       *exec.Cmd
	done      chan struct{}
}

func start(b *testing.B, name, dir string, port, cores int, program string, args ...string) *server {
	b.Helper()
	s := &server{name: name, log: filepath.Join(dir, "log"), port: port, cores: cores, done: make(chan struct{})}
	s.cmd = exec.Command("taskset", append([]string{"-c", []string{"0", "0,1"}[cores-1], program}, args...)...)
	out, err := os.Create(s.log)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	s.cmd.Stdout, s.cmd.Stderr = out, out
	s.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := s.cmd.Start(); err != nil {
		b.Fatalf("starting %s: %v", program, err)
	}
	go func() {
		defer close(s.done)
		_ = s.cmd.Wait() // its status is of no interest
	}()
	b.Cleanup(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
		select {
		case <-s.done:
		case <-time.After(10 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.done
		}
	})
	return s
}

func (s *server) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

func (s *server) answers(name string, qtype uint16) error {
	select {
	case <-s.done:
		return errors.New("it has ended")
	default:
	}
	m, err := dns.Exchange(new(dns.Msg).SetQuestion(name, qtype), s.addr())
	if err == nil && len(m.Answer) == 0 {
		err = fmt.Errorf("the answer is empty:\n%s", m)
	}
	return err
}

// denies reports whether it says that there is no such name, which it does once it has
// read all there are.
func (s *server) denies(name string) error {
	m, err := dns.Exchange(new(dns.Msg).SetQuestion(name, dns.TypeA), s.addr())
	if err == nil && m.Rcode != dns.RcodeNameError {
		err = fmt.Errorf("%s is answered with %s", name, dns.RcodeToString[m.Rcode])
	}
	return err
}

// tail is the end of the log.
func (s *server) tail() string {
	text, err := os.ReadFile(s.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-2000):])
}

// cpu is the processor time, user and system, that the process and those it has
// started have used so far.
func (s *server) cpu(b *testing.B) time.Duration {
	b.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		b.Fatal(err)
	}
	ticks, children := map[string]int{}, map[string][]string{}
	for _, file := range all {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
		pid := filepath.Base(filepath.Dir(file))
		children[fields[1]] = append(children[fields[1]], pid)
		for _, f := range fields[11:13] {
			n, err := strconv.Atoi(f)
			if err != nil {
				b.Fatal(err)
			}
			ticks[pid] += n
		}
	}
	sum := 0
	for todo := []string{strconv.Itoa(s.cmd.Process.Pid)}; len(todo) > 0; todo = todo[1:] {
		sum += ticks[todo[0]]
		todo = append(todo, children[todo[0]]...)
	}
	return time.Duration(sum) * time.Second / 100
}

// settle waits until the process has nothing to do but wait: what it does after
// its start, which is to look at every record once, is not what is measured.
func (s *server) settle(b *testing.B) {
	b.Helper()
	for last, end := s.cpu(b), time.Now().Add(settling); time.Now().Before(end); {
		time.Sleep(time.Second)
		now := s.cpu(b)
		if now-last < 30*time.Millisecond {
			return
		}
		last = now
	}
	b.Fatalf("%s never came to rest", s.name)
}

// freePorts finds ports that nobody listens on, with UDP or TCP.
func freePorts(b *testing.B, n int) []int {
	b.Helper()
	var ports []int
	for len(ports) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		u, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue // taken for UDP
		}
		defer u.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

func write(b *testing.B, path, text string) string {
	b.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}
