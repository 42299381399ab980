package dnstest

import (
	"net"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// Recursor is the world's recursive resolver. It walks the delegations from the
// root as a real one does, without sockets, and validates what zones declare
// bogus. It caches only when told to.
type Recursor struct {
	world *World

	mu        sync.Mutex
	caching   bool
	cache     map[dns.Question]cached
	behaviour func(rw dns.ResponseWriter, req *dns.Msg) bool
	asked     map[dns.Question]int
}

type cached struct {
	msg   *dns.Msg
	until time.Time
}

func newRecursor(w *World) *Recursor {
	return &Recursor{world: w, cache: make(map[dns.Question]cached), asked: make(map[dns.Question]int)}
}

// SetCaching makes the resolver keep answers for their TTL, or, off, forget
// what it holds and ask afresh every time.
func (r *Recursor) SetCaching(on bool) {
	r.mu.Lock()
	r.caching = on
	clear(r.cache)
	r.mu.Unlock()
}

// Behave lets f handle queries first; it reports whether it did.
func (r *Recursor) Behave(f func(rw dns.ResponseWriter, req *dns.Msg) bool) {
	r.mu.Lock()
	r.behaviour = f
	r.mu.Unlock()
}

// Asked is how often the resolver was asked for name and type.
func (r *Recursor) Asked(name string, qtype uint16) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.asked[dns.Question{Name: absolute(name), Qtype: qtype, Qclass: dns.ClassINET}]
}

// ServeDNS answers one query.
func (r *Recursor) ServeDNS(rw dns.ResponseWriter, req *dns.Msg) {
	q := req.Question[0]
	q.Name = strings.ToLower(q.Name)
	r.mu.Lock()
	r.asked[q]++
	f := r.behaviour
	r.mu.Unlock()
	if f != nil && f(rw, req) {
		return
	}
	m := new(dns.Msg)
	m.SetReply(req)
	m.RecursionAvailable = true
	found, bogus := r.resolve(q)
	if bogus && !req.CheckingDisabled {
		m.Rcode = dns.RcodeServerFailure
		if req.IsEdns0() != nil {
			m.SetEdns0(1232, false)
			opt := m.IsEdns0()
			opt.Option = append(opt.Option, &dns.EDNS0_EDE{InfoCode: dns.ExtendedErrorCodeDNSBogus})
		}
	} else {
		m.Rcode, m.Answer, m.Ns = found.Rcode, found.Answer, found.Ns
	}
	send(rw, req, m)
}

func (r *Recursor) resolve(q dns.Question) (answer *dns.Msg, bogus bool) {
	r.mu.Lock()
	c, ok := r.cache[q]
	caching := r.caching
	r.mu.Unlock()
	if left := time.Until(c.until); ok && left > 0 {
		m := c.msg.Copy()
		for _, rr := range append(m.Answer, m.Ns...) {
			rr.Header().Ttl = uint32(left / time.Second)
		}
		return m, false
	}
	m, bogus := r.iterate(q, 0)
	if caching && !bogus && (m.Rcode == dns.RcodeSuccess || m.Rcode == dns.RcodeNameError) {
		ttl := uint32(0)
		for i, rr := range append(m.Answer, m.Ns...) {
			if i == 0 || rr.Header().Ttl < ttl {
				ttl = rr.Header().Ttl
			}
		}
		r.mu.Lock()
		r.cache[q] = cached{m.Copy(), time.Now().Add(time.Duration(ttl) * time.Second)}
		r.mu.Unlock()
	}
	return m, bogus
}

// iterate walks down from the root; depth counts the CNAMEs followed.
func (r *Recursor) iterate(q dns.Question, depth int) (answer *dns.Msg, bogus bool) {
	failed := &dns.Msg{MsgHdr: dns.MsgHdr{Rcode: dns.RcodeServerFailure}}
	servers := []*Server{r.world.infra}
	at := ""
	for range 12 {
		var m *dns.Msg
		var from *Server
		for _, s := range servers {
			if got := ask(s, q); got != nil && (got.Rcode == dns.RcodeSuccess || got.Rcode == dns.RcodeNameError) {
				m, from = got, s
				break
			}
		}
		if m == nil {
			return failed, bogus
		}
		if z := from.zoneOf(q.Name); z != nil && z.isBogus() {
			bogus = true
		}
		if !m.Authoritative {
			owner, next := r.referral(m)
			if len(next) == 0 || owner == at || !dns.IsSubDomain(owner, q.Name) || len(owner) < len(at) {
				return failed, bogus
			}
			at, servers = owner, next
			continue
		}
		if n := len(m.Answer); n > 0 && q.Qtype != dns.TypeCNAME {
			if alias, ok := m.Answer[n-1].(*dns.CNAME); ok && depth < 10 {
				q.Name = strings.ToLower(alias.Target)
				rest, worse := r.iterate(q, depth+1)
				rest = rest.Copy()
				rest.Answer = append(m.Answer, rest.Answer...)
				return rest, bogus || worse
			}
		}
		return m, bogus
	}
	return failed, bogus
}

func (r *Recursor) referral(m *dns.Msg) (owner string, servers []*Server) {
	for _, rr := range m.Ns {
		if ns, ok := rr.(*dns.NS); ok {
			owner = strings.ToLower(ns.Hdr.Name)
			r.world.mu.Lock()
			if s := r.world.servers[strings.ToLower(ns.Ns)]; s != nil {
				servers = append(servers, s)
			}
			r.world.mu.Unlock()
		}
	}
	return owner, servers
}

func (s *Server) zoneOf(name string) *Zone {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := strings.ToLower(name); ; n = parentOf(n) {
		if z, ok := s.zones[n]; ok || n == "." {
			return z
		}
	}
}

// ask puts a question to a server without a socket; nil: no answer.
func ask(s *Server, q dns.Question) *dns.Msg {
	req := new(dns.Msg)
	req.Id = dns.Id()
	req.Question = []dns.Question{q}
	w := &recorder{}
	s.ServeDNS(w, req)
	if w.msg != nil && (w.msg.Id != req.Id || w.msg.Question[0].Name != q.Name) {
		return nil
	}
	return w.msg
}

// recorder keeps the message that is written, as if over TCP.
type recorder struct{ msg *dns.Msg }

func (r *recorder) LocalAddr() net.Addr         { return &net.TCPAddr{} }
func (r *recorder) RemoteAddr() net.Addr        { return &net.TCPAddr{} }
func (r *recorder) WriteMsg(m *dns.Msg) error   { r.msg = m; return nil }
func (r *recorder) Write(b []byte) (int, error) { return len(b), nil }
func (r *recorder) Close() error                { return nil }
func (r *recorder) TsigStatus() error           { return nil }
func (r *recorder) TsigTimersOnly(bool)         {}
func (r *recorder) Hijack()                     {}
