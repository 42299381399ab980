package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// nodeAddrs are where the nodes of a cluster serve.
var nodeAddrs = []string{testnet.ProductAddr, "127.0.0.31", "127.0.0.32"}

// cluster is three nodes of the product that share an etcd of three members, with the
// storage of certificates in it, too. Zone is delegated to all of them.
type cluster struct {
	etcd  *testnet.Etcd
	gate  *gate // before the CA
	nodes []*node
}

// node is one of them.
type node struct {
	number int // from 1 on
	name   string
	addr   string // DNS, HTTP and HTTPS
	admin  string // URL
	dir    string
	ca     *testnet.CA
	proc   *testnet.Process
	client *http.Client // of admin
}

// startCluster runs a cluster with an empty store until the test ends.
func startCluster(t *testing.T, n *testnet.Network, s settings) *cluster {
	t.Helper()
	etcd, err := testnet.StartEtcdFor(len(nodeAddrs), t.TempDir(), "127.0.0.81", "127.0.0.82", "127.0.0.83")
	t.Cleanup(etcd.Stop)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.DelegateZone(testnet.ProductAddr); err != nil {
			t.Error(err)
		}
	})
	if err := n.DelegateZone(nodeAddrs...); err != nil {
		t.Fatal(err)
	}
	c := &cluster{etcd: etcd, gate: openGate(t, "127.0.0.71", n.CA)}
	s.ca = c.gate.front
	s.storage = "apoxy"
	s = s.withDefaults(n)
	var nameServers []string
	for i, addr := range nodeAddrs {
		nameServers = append(nameServers, fmt.Sprintf("nameserver ns%d.example.net %s", i+1, addr))
	}
	for i, addr := range nodeAddrs {
		d := &node{
			number: i + 1, name: fmt.Sprintf("n%d", i+1), addr: addr, dir: t.TempDir(), ca: s.ca,
			admin:  fmt.Sprintf("http://127.0.0.1:%d", 2019+i),
			client: &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}},
		}
		c.nodes = append(c.nodes, d)
		s.store = fmt.Sprintf("etcd {\n\t\t\tendpoints %s\n\t\t}\n\t\tnode %s", etcd.EndpointsOf(d.number), d.name)
		config := s.caddyfile(t, d.dir, addr,
			"default_bind", "admin "+strings.TrimPrefix(d.admin, "http://")+"\n\tdefault_bind",
			"nameserver %NAMESERVER% %ADDRESS%", strings.Join(nameServers, "\n\t\t\t"),
			"edge %ADDRESS%", "edge "+strings.Join(nodeAddrs, " "))
		if err := os.WriteFile(filepath.Join(d.dir, "Caddyfile"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { c.finish(t) })
	c.run(t)
	return c
}

// run starts all nodes that do not run and returns when all are live.
func (c *cluster) run(t *testing.T) {
	t.Helper()
	for _, d := range c.nodes {
		d.spawn(t)
	}
	for _, d := range c.nodes {
		d.awaitLive(t)
	}
}

// finish ends all nodes and fails the test over what their logs tell.
func (c *cluster) finish(t *testing.T) {
	var stopping sync.WaitGroup
	for _, d := range c.nodes {
		if d.proc != nil {
			p := &product{dir: d.dir, proc: d.proc}
			stopping.Go(func() { p.finish(t) })
		}
	}
	stopping.Wait()
}

// orderedOnce demands that each host was ordered once, and once more for each order that
// the CA itself has refused, as it does when its resolver did not answer in time.
func (c *cluster) orderedOnce(t *testing.T, hosts ...string) {
	t.Helper()
	for _, host := range hosts {
		refused := 0
		for _, d := range c.nodes {
			refused += bytes.Count(d.proc.Log(), []byte(`"no certificate was obtained","hostname":"`+host+`"`))
		}
		if got := c.gate.ordered(host); got < 1 || got > 1+refused {
			t.Errorf("%d orders for %s reached the CA, want 1, and %d were refused: %v", got, host, refused, c.gate.seen(host))
		}
	}
}

// cut cuts a node from all of etcd, or from one member, until the returned function
// mends it, or the test ends.
func (d *node) cut(t *testing.T, from ...*testnet.EtcdMember) (mend func()) {
	t.Helper()
	to := fmt.Sprintf("127.0.%d.0/24", d.number)
	for _, m := range from {
		to = m.AddrOf(d.number)
	}
	return d.drop(t, "etcd", "ip daddr "+to, "ip saddr "+to)
}

// deafen drops what etcd answers the node, until the returned function mends it, or the
// test ends.
func (d *node) deafen(t *testing.T) (mend func()) {
	t.Helper()
	return d.drop(t, "deaf", fmt.Sprintf("ip saddr 127.0.%d.0/24", d.number))
}

// drop drops packets as testnet.CutOff does, until the returned function mends it, or the
// test ends.
func (d *node) drop(t *testing.T, what string, expressions ...string) (mend func()) {
	t.Helper()
	cut, err := testnet.CutOff(d.name+what, expressions...)
	if err != nil {
		t.Fatal(err)
	}
	mended := sync.OnceFunc(func() {
		if err := cut.Mend(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(mended)
	return mended
}

// spawn starts the node's process on what is stored; it does not wait.
func (d *node) spawn(t *testing.T) {
	t.Helper()
	name := strings.NewReplacer("/", "_").Replace(d.name + "_" + t.Name())
	proc, err := testnet.Spawn(name, []string{"HOME=" + d.dir, "XDG_DATA_HOME=" + d.dir, "XDG_CONFIG_HOME=" + d.dir},
		testnet.Program("caddy"), "run", "--config", filepath.Join(d.dir, "Caddyfile"), "--adapter", "caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	d.proc = proc
}

// awaitLive waits until the node serves and is live in the cluster.
func (d *node) awaitLive(t *testing.T) {
	t.Helper()
	eventually(t, 45*time.Second, "node "+d.name+" to be live", func() error {
		select {
		case <-d.proc.Done():
			t.Fatalf("node %s ended with status %d; its log ends:\n%s", d.name, d.proc.ExitCode(), d.proc.Tail(4000))
		default:
		}
		all, err := d.status(t.Context())
		if err != nil {
			return err
		}
		if !all[d.name] {
			return errorf("it says %v", all)
		}
		for _, port := range []string{":80", ":443"} {
			conn, err := net.DialTimeout("tcp", d.addr+port, time.Second)
			if err != nil {
				return err
			}
			conn.Close()
		}
		_, err = d.resolve(testnet.Zone, dns.TypeSOA)
		return err
	})
}

// status is which nodes this one takes for live, and which for gone.
func (d *node) status(ctx context.Context) (map[string]bool, error) {
	var s struct {
		Nodes []struct {
			Name string
			Live bool
		}
	}
	_, _, err := d.call(ctx, http.MethodGet, "/apoxy/cluster", nil, &s)
	all := map[string]bool{}
	for _, n := range s.Nodes {
		all[n.Name] = n.Live
	}
	return all, err
}

// call asks the node's admin endpoint. Its error is that of an answer other than 2xx, too.
func (d *node) call(ctx context.Context, method, path string, body, to any) (int, http.Header, error) {
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return 0, nil, err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, d.admin+path, content)
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	answer, err := d.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return 0, nil, err
	case answer.StatusCode/100 != 2:
		return answer.StatusCode, answer.Header, fmt.Errorf("node %s, %s %s: status %d: %s", d.name, method, path, answer.StatusCode, text)
	case to != nil:
		err = json.Unmarshal(text, to)
	}
	return answer.StatusCode, answer.Header, err
}

// submit makes a record at the node and does not wait for anything.
func (d *node) submit(t *testing.T, host string, tls bool) {
	t.Helper()
	if _, _, err := d.call(t.Context(), http.MethodPost, recordsPath, manifest(host, tls), nil); err != nil {
		t.Fatal(err)
	}
}

// await asks the node for a record until cond holds.
func (d *node) await(t *testing.T, host string, limit time.Duration, what string, cond func(record) error) (r record) {
	t.Helper()
	eventually(t, limit, what+" of "+host+" at node "+d.name, func() error {
		r = record{}
		if _, _, err := d.call(t.Context(), http.MethodGet, recordsPath+"/"+host, nil, &r); err != nil {
			return err
		}
		return cond(r)
	})
	return r
}

// resolve asks the node's zone.
func (d *node) resolve(name string, qtype uint16) (*dns.Msg, error) {
	return testnet.Ask(d.addr, name, qtype)
}

// answers tells whether the node's zone has a record's addresses.
func (d *node) answers(host string) error {
	answer, err := d.resolve(host+"."+testnet.Zone, dns.TypeA)
	if err == nil && len(answer.Answer) != len(nodeAddrs) {
		err = errorf("node %s answers %v", d.name, answer)
	}
	return err
}

// handshake shakes hands with the node for a hostname.
func (d *node) handshake(host string) (tls.ConnectionState, error) {
	return tlsState(d.addr, host, d.ca.RootPEM)
}

// page gets a hostname's page from the node over HTTPS, on a connection of its own.
func (d *node) page(ctx context.Context, host string) (string, error) {
	c := client(d.ca.RootPEM)
	c.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, d.addr+":443")
	}
	return visit(ctx, c, "https://"+host+"/")
}
