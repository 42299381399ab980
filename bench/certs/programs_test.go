package certs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// unthrottled is added to Caddy's own main: stock Caddy without certmagic's
// bound of ten orders in ten seconds, for a comparison beside the shipped one.
const unthrottled = `package main

import "github.com/caddyserver/certmagic"

func init() { certmagic.RateLimitEvents, certmagic.RateLimitEventsWindow = 0, 0 }
`

// programs are built once: ours, stock Caddy without its throttle, and a Pebble
// that many orders at once do not bring to a standstill.
// Those that lie in the directory BENCH_BIN are taken from there, and stay. Our program
// with a configuration that names no module of ours is stock Caddy as shipped.
var programs = sync.OnceValues(func() (map[string]string, error) {
	dir := os.Getenv("BENCH_BIN")
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "certs-"); err != nil {
			return nil, err
		}
		passing = dir
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return nil, err
	}
	extra := filepath.Join(dir, "unthrottled.go.txt")
	if err := os.WriteFile(extra, []byte(unthrottled), 0o644); err != nil {
		return nil, err
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(root, "cmd/caddy/unthrottled.go"): extra}})
	if err != nil {
		return nil, err
	}
	overlayFile := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlayFile, overlay, 0o644); err != nil {
		return nil, err
	}
	out := map[string]string{}
	for name, build := range map[string]func(file string) error{
		"caddy":         func(file string) error { return goBuild(root, file) },
		"unthrottled":   func(file string) error { return goBuild(root, file, "-overlay", overlayFile) },
		"pebble-mended": func(file string) error { return buildPebble(root, dir, file) },
	} {
		out[name] = filepath.Join(dir, name)
		if _, err := os.Stat(out[name]); err == nil {
			continue
		}
		if err := build(out[name]); err != nil {
			return nil, err
		}
	}
	return out, nil
})

// passing is the directory of programs that nobody asked to keep.
var passing string

func TestMain(m *testing.M) {
	code := m.Run()
	if passing != "" {
		_ = os.RemoveAll(passing) // it lies among temporary files
	}
	os.Exit(code)
}

// goBuild builds our command.
func goBuild(root, file string, flags ...string) error {
	args := append([]string{"-C", root, "build", "-o", file}, flags...)
	if text, err := exec.Command("go", append(args, "./cmd/caddy")...).CombinedOutput(); err != nil {
		return fmt.Errorf("building %s: %w: %s", filepath.Base(file), err, text)
	}
	return nil
}

// process is a program that runs until the benchmark ends.
type process struct {
	cmd  *exec.Cmd
	log  string
	done chan struct{}
}

func spawn(b *testing.B, program, dir string, env []string, args ...string) *process {
	b.Helper()
	built, err := programs()
	if err != nil {
		b.Fatal(err)
	}
	p := &process{cmd: exec.Command(built[program], args...), log: filepath.Join(dir, program+".log"), done: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.Env = append(append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir), env...)
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // its status is of no interest
	}()
	b.Cleanup(p.stop)
	return p
}

// stop ends the process and returns when it has.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended already
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// tail is the end of the log.
func (p *process) tail() string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}

// logged counts the lines of the log that hold text.
func (p *process) logged(text string) int {
	log, err := os.ReadFile(p.log)
	if err != nil {
		return 0
	}
	return bytes.Count(log, []byte(text))
}

// cpu is the processor time used so far, user and system.
func (p *process) cpu(b *testing.B) time.Duration {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int
	for _, f := range fields[11:13] {
		n, err := strconv.Atoi(f)
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}

// settle waits until the process has nothing to do but wait, a minute at most:
// what it does after its start is not what is measured.
func (p *process) settle(b *testing.B) {
	b.Helper()
	for last, end := p.cpu(b), time.Now().Add(time.Minute); time.Now().Before(end); {
		time.Sleep(time.Second)
		now := p.cpu(b)
		if now-last < 30*time.Millisecond {
			return
		}
		last = now
	}
	b.Log("the process never came to rest")
}

// freePorts finds ports that nobody listens on, over TCP or UDP.
func freePorts(b *testing.B, n int) []int {
	b.Helper()
	var ports []int
	for len(ports) < n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		defer l.Close()
		datagrams, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			continue // somebody has this one over UDP
		}
		defer datagrams.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// until waits for a condition.
func until(b *testing.B, limit time.Duration, what string, cond func() error) {
	b.Helper()
	end := time.Now().Add(limit)
	for {
		err := cond()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			b.Fatalf("waiting %v for %s: %v", limit, what, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
