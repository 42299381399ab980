package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A record that is written at one node is answered, admitted and told of by all, and
// every node tells of all three.
func TestClusterActsAsOne(t *testing.T) {
	n := network(t)
	c := startCluster(t, n, settings{})
	for _, d := range c.nodes {
		p := &product{dir: d.dir}
		out, err := p.caddy(t.Context(), "", "apoxy", "cluster", "status", "--address", strings.TrimPrefix(d.admin, "http://"))
		lines := strings.Split(strings.TrimSpace(out), "\n")
		if err != nil || len(lines) != len(c.nodes) {
			t.Fatalf("node %s says %q, %v", d.name, out, err)
		}
		for i, line := range lines {
			if words := strings.Fields(line); words[0] != c.nodes[i].name || words[1] != "live" || strings.Contains(line, "does not answer") {
				t.Errorf("node %s says %q", d.name, line)
			}
		}
	}

	customer := customer(t, n, "asone")
	var hosts, lines []string
	for i := range c.nodes {
		host := fmt.Sprintf("h%d.%s", i, customer.name)
		hosts = append(hosts, host)
		lines = append(lines, delegation(host), fmt.Sprintf("%s. CNAME %[1]s.%s.", host, "cname.example.net"))
	}
	customer.set(t, lines...)
	for i, host := range hosts {
		c.nodes[i].submit(t, host, true)
		began := time.Now()
		for _, d := range c.nodes {
			eventually(t, 10*time.Second, "the zone at node "+d.name, func() error { return d.answers(host) })
		}
		t.Logf("written at %s, answered by all after %v", c.nodes[i].name, time.Since(began).Round(time.Millisecond))
	}
	for i, host := range hosts {
		d := c.nodes[(i+1)%len(c.nodes)]
		d.await(t, host, 150*time.Second, "Ready", is("phase=Active", "Ready=True", "TLSReady=True"))
		at := ""
		for _, d := range c.nodes {
			began := time.Now()
			state, err := d.handshake(host)
			if err != nil {
				t.Errorf("a handshake for %s at node %s: %v", host, d.name, err)
				continue
			}
			serial := state.PeerCertificates[0].SerialNumber.Text(16)
			r := d.await(t, host, 5*time.Second, "the certificate", is("Ready=True"))
			if r.Status.Certificate == nil || r.Status.Certificate.SerialNumber != serial {
				t.Errorf("node %s serves %s for %s, and says %+v", d.name, serial, host, r.Status.Certificate)
			}
			if at != "" && at != r.Metadata.ResourceVersion {
				t.Logf("node %s has %s at revision %s, another at %s", d.name, host, r.Metadata.ResourceVersion, at)
			}
			at = r.Metadata.ResourceVersion
			if body, err := d.page(t.Context(), host); err != nil || body != ours {
				t.Errorf("node %s answers %q for %s, %v", d.name, body, host, err)
			}
			t.Logf("served by node %s within %v", d.name, time.Since(began).Round(time.Millisecond))
		}
		c.orderedOnce(t, host)
	}

	gone := hosts[0]
	if _, _, err := c.nodes[2].call(t.Context(), http.MethodDelete, recordsPath+"/"+gone, nil, nil); err != nil {
		t.Fatal(err)
	}
	for _, d := range c.nodes {
		eventually(t, 10*time.Second, "a deleted record to be gone at node "+d.name, func() error {
			answer, err := d.resolve(gone+".cname.example.net", dns.TypeA)
			if err != nil || answer.Rcode != dns.RcodeNameError {
				return errorf("it answers %v, %v", answer, err)
			}
			if body, err := d.page(t.Context(), gone); err == nil {
				return errorf("it answers %q", body)
			}
			return nil
		})
	}
}

// Of many records at once each is ordered once, all nodes take part, and what one has
// obtained, or replaced, all serve.
func TestClusterSharesTheWork(t *testing.T) {
	const many = 40
	n := network(t)
	c := startCluster(t, n, settings{})
	customer := customer(t, n, "shared")
	var hosts []string
	for i := range many {
		hosts = append(hosts, fmt.Sprintf("h%02d.%s", i, customer.name))
	}
	customer.delegated(t, hosts...)
	began := time.Now()
	for i, host := range hosts {
		c.nodes[i%len(c.nodes)].submit(t, host, true)
	}
	served := map[string]bool{}
	slowest := time.Duration(0)
	eventually(t, 150*time.Second, "all certificates", func() error {
		var list struct{ Items []record }
		if _, _, err := c.nodes[0].call(t.Context(), http.MethodGet, recordsPath, nil, &list); err != nil {
			return err
		}
		for _, r := range list.Items {
			host := r.Metadata.Name
			if served[host] || is("TLSReady=True")(r) != nil {
				continue
			}
			served[host] = true
			began := time.Now()
			for _, d := range c.nodes {
				state, err := d.handshake(host)
				if err != nil {
					t.Errorf("a handshake for %s at node %s: %v", host, d.name, err)
				} else if got := state.PeerCertificates[0].SerialNumber.Text(16); got != r.Status.Certificate.SerialNumber {
					t.Errorf("node %s serves %s for %s, want %s", d.name, got, host, r.Status.Certificate.SerialNumber)
				}
			}
			slowest = max(slowest, time.Since(began))
		}
		if len(served) < many {
			return errorf("%d of %d have one", len(served), many)
		}
		return nil
	})
	t.Logf("%d certificates in %v, the slowest was served by all nodes after %v", many, time.Since(began).Round(time.Millisecond), slowest.Round(time.Millisecond))
	c.orderedOnce(t, hosts...)
	for _, d := range c.nodes {
		obtained := countedAt(t, d.admin, "apoxy_issuance_total", `outcome="issued"`)
		t.Logf("node %s has obtained %v", d.name, obtained)
		if obtained == 0 {
			t.Errorf("node %s has taken no part", d.name)
		}
	}

	// One that is replaced is served by all, though each has the former one in memory.
	host := hosts[0]
	state, err := c.nodes[2].handshake(host)
	if err != nil {
		t.Fatal(err)
	}
	former := state.PeerCertificates[0].SerialNumber.Text(16)
	if status, _, err := c.nodes[0].call(t.Context(), http.MethodPost, recordsPath+"/"+host+"/revoke?reason=superseded", nil, nil); err != nil || status != http.StatusOK {
		t.Fatalf("revoking is answered %d, %v", status, err)
	}
	r := c.nodes[1].await(t, host, 150*time.Second, "another certificate", func(r record) error {
		if err := is("TLSReady=True")(r); err != nil || r.Status.Certificate == nil || r.Status.Certificate.SerialNumber == former {
			return errorf("it has %+v, %v", r.Status.Certificate, err)
		}
		return nil
	})
	began = time.Now()
	for _, d := range c.nodes {
		eventually(t, 10*time.Second, "node "+d.name+" to serve another certificate", func() error {
			state, err := d.handshake(host)
			if err != nil {
				return err
			}
			if got := state.PeerCertificates[0].SerialNumber.Text(16); got != r.Status.Certificate.SerialNumber {
				return errorf("it serves %s, want %s; the former is %s", got, r.Status.Certificate.SerialNumber, former)
			}
			return nil
		})
		t.Logf("the replaced certificate is served by node %s %v after it was told of", d.name, time.Since(began).Round(time.Millisecond))
	}
}
