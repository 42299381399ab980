package testnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
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
	clients         int // that have an address of their own at it
	proc            *Process
}

// StartEtcd starts a member at each address, with empty databases below dir.
func StartEtcd(dir string, addrs ...string) (*Etcd, error) {
	return StartEtcdFor(0, dir, addrs...)
}

// StartEtcdFor is StartEtcd for so many clients that can be cut off one by one: each has
// addresses of its own at all members, EndpointsOf.
func StartEtcdFor(clients int, dir string, addrs ...string) (*Etcd, error) {
	e := new(Etcd)
	var cluster []string
	for i, addr := range addrs {
		m := &EtcdMember{name: fmt.Sprintf("etcd%d", i), addr: addr, dir: filepath.Join(dir, addr), clients: clients}
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
		if err := Until(20*time.Second, "etcd at "+m.addr+" to be healthy", m.healthy); err != nil {
			return e, err
		}
	}
	return e, nil
}

// Endpoints are the members' URLs, as `store etcd` takes them.
func (e *Etcd) Endpoints() string { return e.EndpointsOf(0) }

// EndpointsOf are the members' URLs at the addresses of a client, from 1 on; those of 0
// are nobody's own.
func (e *Etcd) EndpointsOf(client int) string {
	var urls []string
	for _, m := range e.Members {
		urls = append(urls, "http://"+m.AddrOf(client)+":2379")
	}
	return strings.Join(urls, " ")
}

// Leader is the member that leads.
func (e *Etcd) Leader() (*EtcdMember, error) {
	for _, m := range e.Members {
		var status struct {
			Header struct {
				Member string `json:"member_id"`
			}
			Leader string
		}
		if err := m.ask("/v3/maintenance/status", &status); err == nil && status.Leader == status.Header.Member {
			return m, nil
		}
	}
	return nil, errors.New("no member of etcd says that it leads")
}

// Stop ends all members.
func (e *Etcd) Stop() {
	for _, m := range e.Members {
		if m.proc != nil {
			m.Kill()
		}
	}
}

// AddrOf is the member's address for a client: 127.0.CLIENT.x where the member is
// 127.0.0.x.
func (m *EtcdMember) AddrOf(client int) string {
	_, last, _ := strings.Cut(strings.TrimPrefix(m.addr, "127."), ".")
	_, last, _ = strings.Cut(last, ".")
	return fmt.Sprintf("127.0.%d.%s", client, last)
}

// healthy is nil while the member answers for a quorum.
func (m *EtcdMember) healthy() error {
	select {
	case <-m.proc.Done():
		return fmt.Errorf("it has ended: %s", m.proc.Tail(2000))
	default:
	}
	client := http.Client{Timeout: time.Second}
	answer, err := client.Get("http://" + m.addr + ":2379/health")
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("its health is answered %d", answer.StatusCode)
	}
	return nil
}

// ask asks etcd's JSON gateway something that takes no parameters.
func (m *EtcdMember) ask(path string, to any) error {
	client := http.Client{Timeout: time.Second}
	answer, err := client.Post("http://"+m.addr+":2379"+path, "application/json", strings.NewReader("{}"))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	return json.NewDecoder(answer.Body).Decode(to)
}

// Kill ends the member without warning.
func (m *EtcdMember) Kill() { m.proc.Kill() }

// Silence stops the member where it is; Speak lets it go on.
func (m *EtcdMember) Silence() error { return m.proc.Silence() }

// Speak lets a silenced member go on.
func (m *EtcdMember) Speak() error { return m.proc.Speak() }

// Start starts the member again, on its database as it is.
func (m *EtcdMember) Start() error {
	if err := m.spawn(); err != nil {
		return err
	}
	return m.listens()
}

func (m *EtcdMember) spawn() (err error) {
	client, peer := "http://"+m.addr+":2379", "http://"+m.addr+":2380"
	listen := []string{client}
	for i := range m.clients {
		listen = append(listen, "http://"+m.AddrOf(i+1)+":2379")
	}
	m.proc, err = Spawn(m.name+"-"+m.addr, nil, Program("etcd"), "--name", m.name, "--data-dir", m.dir,
		"--listen-client-urls", strings.Join(listen, ","), "--advertise-client-urls", client,
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
