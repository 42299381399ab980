package dnsprovider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/libdns/libdns"
	"github.com/miekg/dns"
)

// Provider is the zone's libdns face. The zone that its methods are given is Z,
// or the customer's own for names that the customer delegated: there
// _acme-challenge.N stands for _acme-challenge.N.Z, and nothing else is taken.
//
// TXT records at _acme-challenge names have TTL 0 and vanish after two hours.
// Each record is one atomic write; a call with several RRsets is not atomic as
// a whole. What a call puts into the zone is answered when it returns.
type Provider struct {
	zone *Zone
}

// NewProvider gives the libdns face of a zone that was made with RRsets.
func NewProvider(z *Zone) (*Provider, error) {
	if z == nil || z.dynamic == nil {
		return nil, fmt.Errorf("using the zone as a DNS provider: it has no store")
	}
	return &Provider{z}, nil
}

var (
	_ libdns.RecordGetter   = (*Provider)(nil)
	_ libdns.RecordAppender = (*Provider)(nil)
	_ libdns.RecordSetter   = (*Provider)(nil)
	_ libdns.RecordDeleter  = (*Provider)(nil)
	_ libdns.ZoneLister     = (*Provider)(nil)
)

// ListZones returns Z.
func (p *Provider) ListZones(context.Context) ([]libdns.Zone, error) {
	return []libdns.Zone{{Name: p.zone.name + "."}}, nil
}

// GetRecords returns what was put into the zone; neither what the zone answers
// by itself nor what it answers for records is among it.
func (p *Provider) GetRecords(ctx context.Context, zone string) ([]libdns.Record, error) {
	var out []libdns.Record
	now := time.Now()
	err := p.zone.dynamic.List(ctx, func(owner, typ string, set RRSet) {
		name, ok := p.outer(owner, zone)
		if !ok {
			return
		}
		for _, v := range set.Values {
			if v.Expires == nil || now.Before(*v.Expires) {
				out = append(out, record(name, typ, set.TTL, v.Data))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("getting records of zone %s: %w", zone, err)
	}
	return out, nil
}

// AppendRecords adds the records and returns them.
func (p *Provider) AppendRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return p.change(ctx, "appending records to", zone, recs, false)
}

// SetRecords makes the records the only ones of their names and types and
// returns them.
func (p *Provider) SetRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	return p.change(ctx, "setting records in", zone, recs, true)
}

// group is the input's records of one name and type.
type group struct {
	owner string
	typ   string
	recs  []libdns.RR
}

func (p *Provider) change(ctx context.Context, doing, zone string, recs []libdns.Record, replace bool) ([]libdns.Record, error) {
	groups, err := p.groups(zone, recs)
	if err != nil {
		return nil, fmt.Errorf("%s zone %s: %w", doing, zone, err)
	}
	var out []libdns.Record
	for _, g := range groups {
		var ttl uint32
		err := p.zone.dynamic.Update(ctx, g.owner, g.typ, func(s *RRSet) error {
			if replace {
				s.Values = nil
			}
			err := g.add(s)
			ttl = s.TTL
			return err
		})
		if err != nil {
			return out, fmt.Errorf("%s zone %s: %w", doing, zone, err)
		}
		for _, rr := range g.recs {
			out = append(out, record(rr.Name, rr.Type, ttl, rr.Data))
		}
	}
	return out, nil
}

// add puts the group's records into a set.
func (g *group) add(s *RRSet) error {
	challenge := g.typ == "TXT" && strings.HasPrefix(g.owner+".", challengePrefix)
	for _, rr := range g.recs {
		if challenge {
			s.present(rr.Data)
			continue
		}
		if rr.TTL < 0 || rr.TTL > 7*24*time.Hour {
			return fmt.Errorf("%s %s: TTL %v: want 0s to 168h", rr.Name, rr.Type, rr.TTL)
		}
		s.TTL = uint32(rr.TTL / time.Second)
		if !slices.ContainsFunc(s.Values, func(v Value) bool { return v.Data == rr.Data }) {
			s.Values = append(s.Values, Value{Data: rr.Data})
		}
	}
	return nil
}

// groups sorts the input by name and type and refuses what cannot be put there,
// so that a wrong record changes nothing.
func (p *Provider) groups(zone string, recs []libdns.Record) ([]*group, error) {
	var out []*group
	for _, rec := range recs {
		rr := rec.RR()
		rr.Type = strings.ToUpper(rr.Type)
		owner, err := p.owner(rr.Name, zone)
		if err != nil {
			return nil, err
		}
		code, err := p.zone.dynamic.check(owner, rr.Type)
		if err != nil {
			return nil, err
		}
		if _, err := packValue(code, rr.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", rr.Name, err)
		}
		if owner == "@" && p.zone.apexNode.set(code) != nil {
			return nil, fmt.Errorf("%s %s is answered by the configuration and cannot be changed here", p.zone.name, rr.Type)
		}
		if err := p.alone(owner, code); err != nil {
			return nil, err
		}
		i := slices.IndexFunc(out, func(g *group) bool { return g.typ == rr.Type && g.owner == owner })
		if i < 0 {
			i = len(out)
			out = append(out, &group{owner: owner, typ: rr.Type})
		}
		out[i].recs = append(out[i].recs, rr)
	}
	return out, nil
}

// alone refuses a CNAME beside other types.
func (p *Provider) alone(owner string, code uint16) error {
	if owner == "@" && code == dns.TypeCNAME {
		return fmt.Errorf("%s is the zone's own name, where no CNAME can stand (RFC 1034 section 3.6.2)", p.zone.name)
	}
	if n := p.zone.dynamic.lookup([]byte(owner)); n != nil {
		for _, set := range n.sets {
			if set.typ != code && (set.typ == dns.TypeCNAME || code == dns.TypeCNAME) {
				return fmt.Errorf("%s has %s records: a CNAME stands alone (RFC 1034 section 3.6.2)", owner,
					dns.TypeToString[set.typ])
			}
		}
	}
	return nil
}

// DeleteRecords removes the records that match and returns those that were
// there. An empty type, TTL or value matches every one.
func (p *Provider) DeleteRecords(ctx context.Context, zone string, recs []libdns.Record) ([]libdns.Record, error) {
	var out []libdns.Record
	for _, rec := range recs {
		want := rec.RR()
		owner, err := p.owner(want.Name, zone)
		if err != nil {
			return out, fmt.Errorf("deleting records from zone %s: %w", zone, err)
		}
		gone, err := p.delete(ctx, owner, want)
		if err != nil {
			return out, fmt.Errorf("deleting records from zone %s: %w", zone, err)
		}
		for _, rec := range gone {
			if !slices.ContainsFunc(out, func(r libdns.Record) bool { return r.RR() == rec.RR() }) {
				out = append(out, rec)
			}
		}
	}
	return out, nil
}

func (p *Provider) delete(ctx context.Context, owner string, want libdns.RR) ([]libdns.Record, error) {
	types := []string{strings.ToUpper(want.Type)}
	if want.Type == "" {
		types = nil
		if n := p.zone.dynamic.lookup([]byte(owner)); n != nil {
			for _, set := range n.sets {
				types = append(types, dns.TypeToString[set.typ])
			}
		}
	}
	var out []libdns.Record
	for _, typ := range types {
		var gone []libdns.Record
		err := p.zone.dynamic.Update(ctx, owner, typ, func(s *RRSet) error {
			gone = nil
			// A challenge's TTL was ours to choose, so the caller's does not count.
			challenge := typ == "TXT" && strings.HasPrefix(owner+".", challengePrefix)
			if want.TTL != 0 && !challenge && want.TTL != time.Duration(s.TTL)*time.Second {
				return nil
			}
			s.Values = slices.DeleteFunc(s.Values, func(v Value) bool {
				if want.Data != "" && v.Data != want.Data {
					return false
				}
				gone = append(gone, record(want.Name, typ, s.TTL, v.Data))
				return true
			})
			return nil
		})
		if err != nil {
			return out, err
		}
		out = append(out, gone...)
	}
	return out, nil
}
