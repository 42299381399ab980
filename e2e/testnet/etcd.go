package testnet

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"
)

// Etcd is a cluster of etcd's members, each at an address of its own.
type Etcd struct {
	Members []*EtcdMember
}

// EtcdMember is one of them.
type EtcdMember struct {
	name, addr, dir string
	cluster         string
	proc            *Process
}

// StartEtcd starts a member at each address, with empty databases below dir.
func StartEtcd(dir string, addrs ...string) (*Etcd, error) {
	e := new(Etcd)
	var cluster []string
	for i, addr := range addrs {
		m := &EtcdMember{name: fmt.Sprintf("etcd%d", i), addr: addr, dir: filepath.Join(dir, addr)}
		e.Members = append(e.Members, m)
		cluster = append(cluster, m.name+"=http://"+addr+":2380")
	}
	for _, m := range e.Members {
		m.cluster = strings.Join(cluster, ",")
		if err := m.spawn(); err != nil {
			return e, err
		}
	}
	for _, m := range e.Members {
		if err := m.listens(); err != nil {
			return e, err
		}
	}
	return e, nil
}

// Endpoints are the members' URLs, as `store etcd` takes them.
func (e *Etcd) Endpoints() string {
	var urls []string
	for _, m := range e.Members {
		urls = append(urls, "http://"+m.addr+":2379")
	}
	return strings.Join(urls, " ")
}

// Stop ends all members.
func (e *Etcd) Stop() {
	for _, m := range e.Members {
		if m.proc != nil {
			m.Kill()
		}
	}
}

// Kill ends the member without warning.
func (m *EtcdMember) Kill() { m.proc.Kill() }

// Silence stops the member where it is; Speak lets it go on.
func (m *EtcdMember) Silence() error { return m.proc.pause() }

// Speak lets a silenced member go on.
func (m *EtcdMember) Speak() error { return m.proc.resume() }

// Start starts the member again, on its database as it is.
func (m *EtcdMember) Start() error {
	if err := m.spawn(); err != nil {
		return err
	}
	return m.listens()
}

func (m *EtcdMember) spawn() (err error) {
	client, peer := "http://"+m.addr+":2379", "http://"+m.addr+":2380"
	m.proc, err = Spawn(m.name+"-"+m.addr, nil, Program("etcd"), "--name", m.name, "--data-dir", m.dir,
		"--listen-client-urls", client, "--advertise-client-urls", client,
		"--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
		"--initial-cluster", m.cluster, "--heartbeat-interval", "100", "--election-timeout", "1000", "--log-level", "warn")
	return err
}

func (m *EtcdMember) listens() error {
	return Until(20*time.Second, "etcd at "+m.addr, func() error {
		select {
		case <-m.proc.Done():
			return fmt.Errorf("it has ended: %s", m.proc.Tail(2000))
		default:
		}
		c, err := net.DialTimeout("tcp", m.addr+":2379", time.Second)
		if err == nil {
			c.Close()
		}
		return err
	})
}
