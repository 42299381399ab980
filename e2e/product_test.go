package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

const (
	adminURL = "http://127.0.0.1:2019"
	ours     = "ours" // what the gateway of testdata/Caddyfile answers
)

// settings are what tests vary in testdata/Caddyfile.
type settings struct {
	checkInterval time.Duration // default 2s
	detachAfter   time.Duration // default 10m, the product's own
	brakeHold     time.Duration // default 1h, the product's own
	ca            *testnet.CA   // default the network's
	program       string        // default "caddy"
	store         string        // default a bolt file
	storage       string        // default files
	env           []string      // beside what this process has
	sites         string        // further sites of the configuration; default none
}

func (s settings) withDefaults(n *testnet.Network) settings {
	if s.checkInterval == 0 {
		s.checkInterval = 2 * time.Second
	}
	if s.detachAfter == 0 {
		s.detachAfter = 10 * time.Minute
	}
	if s.brakeHold == 0 {
		s.brakeHold = time.Hour
	}
	if s.program == "" {
		s.program = "caddy"
	}
	if s.ca == nil {
		s.ca = n.CA
	}
	return s
}

// product is the product under test: one process at a time, on
// testnet.ProductAddr, with a store and a storage of its own.
type product struct {
	dir  string
	ca   *testnet.CA
	proc *testnet.Process

	settings settings
}

// start runs the product with an empty store until the test ends.
func start(t *testing.T, n *testnet.Network, s settings) *product {
	t.Helper()
	s = s.withDefaults(n)
	p := &product{dir: t.TempDir(), ca: s.ca, settings: s}
	if s.store == "" {
		s.store = "bolt " + filepath.Join(p.dir, "apoxy.db")
	}
	if err := os.WriteFile(p.config(), []byte(s.caddyfile(t, p.dir, testnet.ProductAddr)+s.sites), 0o644); err != nil {
		t.Fatal(err)
	}
	p.run(t)
	t.Cleanup(func() { p.finish(t) })
	return p
}

// caddyfile is testdata/Caddyfile for a node at an address, with storage below dir. The
// former word of each pair of words is replaced by the latter before.
func (s settings) caddyfile(t *testing.T, dir, address string, words ...string) string {
	t.Helper()
	if s.storage == "" {
		s.storage = "file_system " + filepath.Join(dir, "storage")
	}
	template, err := os.ReadFile(filepath.Join("testdata", "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(
		"%ADDRESS%", address,
		"%DIR%", dir,
		"%ZONE%", testnet.Zone,
		"%NAMESERVER%", testnet.NameServer,
		"%RESOLVER%", testnet.ResolverAddr,
		"%CHECK_INTERVAL%", s.checkInterval.String(),
		"%DETACH_AFTER%", s.detachAfter.String(),
		"%FLEET_BRAKE_HOLD%", s.brakeHold.String(),
		"%DIRECTORY%", s.ca.Directory,
		"%TRUST%", s.ca.Trust,
		"%FOREIGN%", testnet.ForeignAddr,
		"%STORE%", s.store,
		"%STORAGE%", s.storage,
	).Replace(strings.NewReplacer(words...).Replace(string(template)))
}

func (p *product) config() string { return filepath.Join(p.dir, "Caddyfile") }

// run starts the process on the store as it is and returns when it serves.
func (p *product) run(t *testing.T) {
	t.Helper()
	name := strings.NewReplacer("/", "_").Replace(t.Name())
	env := append([]string{"HOME=" + p.dir, "XDG_DATA_HOME=" + p.dir, "XDG_CONFIG_HOME=" + p.dir}, p.settings.env...)
	proc, err := testnet.Spawn(name, env,
		testnet.Program(p.settings.program), "run", "--config", p.config(), "--adapter", "caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	p.proc = proc
	err = testnet.Until(30*time.Second, "the product to serve", func() error {
		select {
		case <-proc.Done():
			return fmt.Errorf("it ended with status %d", proc.ExitCode())
		default:
			return serves(t.Context())
		}
	})
	if err != nil {
		t.Fatalf("%v; its log ends:\n%s", err, proc.Tail(8000))
	}
}

// serves tells whether the admin API, the zone and both web ports answer.
func serves(ctx context.Context) error {
	if status, body, err := fetch(ctx, http.DefaultClient, adminURL+recordsPath, ""); err != nil || status != http.StatusOK {
		return fmt.Errorf("the admin API answers %d %q, %v", status, body, err)
	}
	answer, err := testnet.Ask(testnet.ProductAddr, testnet.Zone, dns.TypeSOA)
	if err != nil {
		return err
	}
	if len(answer.Answer) == 0 {
		return fmt.Errorf("the zone has no SOA: %v", answer)
	}
	for _, port := range []string{":80", ":443"} {
		conn, err := net.DialTimeout("tcp", testnet.ProductAddr+port, time.Second)
		if err != nil {
			return err
		}
		conn.Close()
	}
	return nil
}

// stop ends the process as an operator does.
func (p *product) stop(t *testing.T) {
	t.Helper()
	if err := p.proc.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
}

// kill ends the process without warning.
func (p *product) kill() { p.proc.Kill() }

// finish ends the process and fails the test over what its log tells.
func (p *product) finish(t *testing.T) {
	p.stop(t)
	log := p.proc.Log()
	for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", `"level":"panic"`} {
		if i := bytes.Index(log, []byte(bad)); i >= 0 {
			t.Errorf("the product's log holds %q:\n%s", bad, log[i:min(len(log), i+4000)])
		}
	}
	if t.Failed() {
		t.Logf("the product's log ends:\n%s", p.proc.Tail(12000))
	}
}

// reload gives the running process its configuration again.
func (p *product) reload(ctx context.Context) error {
	out, err := p.caddy(ctx, "", "reload", "--config", p.config(), "--adapter", "caddyfile", "--force")
	if err != nil {
		return fmt.Errorf("reloading: %w: %s", err, out)
	}
	return nil
}

// reconfigure replaces a part of the configuration of the running product.
func (p *product) reconfigure(t *testing.T, old, now string) {
	t.Helper()
	text, err := os.ReadFile(p.config())
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		t.Fatalf("the configuration has no %q", old)
	}
	if err := os.WriteFile(p.config(), []byte(strings.Replace(string(text), old, now, 1)), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := p.reload(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// caddy runs the product's command line and returns its standard output; a
// failure holds its standard error.
func (p *product) caddy(ctx context.Context, stdin string, args ...string) (string, error) {
	return command(ctx, p.dir, stdin, testnet.Program("caddy"), args...)
}

// kubectl runs kubectl against the admin endpoint.
func (p *product) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	return command(ctx, p.dir, stdin, testnet.Program("kubectl"), append([]string{"--server", adminURL}, args...)...)
}

func command(ctx context.Context, home, stdin, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home, "KUBECONFIG=")
	cmd.Dir = home
	cmd.Stdin = strings.NewReader(stdin)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("running %s %s: %w: %s", filepath.Base(program), strings.Join(args, " "), err, errOut.String())
	}
	return out.String(), err
}

// exitStatus is the exit status behind an error of command.
func exitStatus(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// handshake shakes hands with the product for a server name.
func (p *product) handshake(serverName string) (tls.ConnectionState, error) {
	return tlsState(testnet.ProductAddr, serverName, p.ca.RootPEM)
}

// plain asks the product over HTTP for a host, past DNS.
func (p *product) plain(ctx context.Context, host string) (int, string, error) {
	return fetch(ctx, client(), "http://"+testnet.ProductAddr+"/", host)
}
