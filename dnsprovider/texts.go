package dnsprovider

import (
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/miekg/dns"
)

// Texts are the TXT records of one name directly below the zone, which may come later
// than the zone, and outlive it. Until Set they are not there. Safe for concurrent use.
type Texts struct {
	label string
	node  atomic.Pointer[node]
}

// textsTTL is their TTL.
const textsTTL = 300

// maxTextLength is the longest character string (RFC 1035 section 3.3).
const maxTextLength = 255

// NewTexts returns the Texts of a label that no hostname can be.
func NewTexts(label string) (*Texts, error) {
	name, err := hostName(label)
	if err != nil || strings.Contains(name, ".") || !strings.HasPrefix(name, "_") {
		return nil, fmt.Errorf("%q: expected a label that begins with an underscore", label)
	}
	return &Texts{label: name}, nil
}

// Set puts the records there, each of one string of 255 octets at most, in place of
// those before.
func (t *Texts) Set(texts []string) error {
	set := &rrset{typ: dns.TypeTXT, ttl: textsTTL}
	for _, text := range texts {
		if text == "" || len(text) > maxTextLength {
			return fmt.Errorf("a text at %s has %d octets: expected 1 to %d", t.label, len(text), maxTextLength)
		}
		set.rdata = append(set.rdata, textSet(text, 0).rdata...)
	}
	if len(set.rdata) == 0 {
		return fmt.Errorf("no text at %s: expected one at least", t.label)
	}
	t.node.Store(&node{[]*rrset{set}})
	return nil
}

// at returns what stands at a name relative to the zone, nil for nothing.
func (t *Texts) at(rel []byte) *node {
	if t == nil || string(rel) != t.label {
		return nil
	}
	return t.node.Load()
}
