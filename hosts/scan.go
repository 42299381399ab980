package hosts

import (
	"bytes"
	"encoding/json"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// scanner reads JSON in the form that the store holds: without white space.
// It sets failed at whatever it does not know, be it wrong or merely unusual,
// and yields nothing from there on.
type scanner struct {
	b      []byte
	i      int
	failed bool
}

// peek returns the next byte; 0 at the end and after a failure.
func (s *scanner) peek() byte {
	if s.failed || s.i >= len(s.b) {
		return 0
	}
	return s.b[s.i]
}

func (s *scanner) fail() { s.failed = true }

// eat passes one byte, which has to be c.
func (s *scanner) eat(c byte) bool {
	if s.peek() != c {
		s.fail()
		return false
	}
	s.i++
	return true
}

// word passes w if it is next.
func (s *scanner) word(w string) bool {
	if s.failed || !bytes.HasPrefix(s.b[s.i:], []byte(w)) {
		return false
	}
	s.i += len(w)
	return true
}

// object calls field for every key, with the value next; not for null. Keys
// that repeat, and objects of more keys than our own have, are unusual.
func (s *scanner) object(field func(key []byte)) {
	if s.word("null") || s.word("{}") || !s.eat('{') {
		return
	}
	var seen [16][]byte
	for n := 0; !s.failed; n++ {
		key := s.bytes()
		for i := range min(n, len(seen)) {
			if string(seen[i]) == string(key) {
				s.fail()
			}
		}
		if n == len(seen) {
			s.fail()
			return
		}
		seen[n] = key
		if s.eat(':') {
			field(key)
		}
		if s.peek() != ',' {
			s.eat('}')
			return
		}
		s.i++
	}
}

// array calls element for every element; false: there was null.
func (s *scanner) array(element func()) bool {
	if s.word("null") {
		return false
	}
	if s.word("[]") || !s.eat('[') {
		return true
	}
	for !s.failed {
		element()
		if s.peek() != ',' {
			s.eat(']')
			break
		}
		s.i++
	}
	return true
}

// bytes returns a string without escapes; it is borrowed.
func (s *scanner) bytes() []byte {
	raw, plain := s.quoted()
	if !plain {
		s.fail()
		return nil
	}
	return raw
}

// quoted returns what stands between the quotes of a string, and whether it is
// free of escapes and valid UTF-8.
func (s *scanner) quoted() ([]byte, bool) {
	if !s.eat('"') {
		return nil, true
	}
	rest := s.b[s.i:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		s.fail()
		return nil, true
	}
	plain := bytes.IndexByte(rest[:end], '\\') < 0
	if plain {
		s.i += end + 1
		return rest[:end], utf8.Valid(rest[:end])
	}
	for end = 0; end < len(rest) && rest[end] != '"'; end++ {
		if rest[end] == '\\' {
			end++
		}
	}
	if end >= len(rest) {
		s.fail()
		return nil, true
	}
	s.i += end + 1
	return rest[:end], false
}

// text returns a string; null is the empty one.
func (s *scanner) text() string {
	if s.word("null") {
		return ""
	}
	begin := s.i
	raw, plain := s.quoted()
	if s.failed {
		return ""
	}
	if plain {
		if known, ok := knownText[string(raw)]; ok {
			return known
		}
		return string(raw)
	}
	var out string
	if json.Unmarshal(s.b[begin:s.i], &out) != nil {
		s.fail()
	}
	return out
}

// knownText holds strings that stand in almost every record, so that they are
// not allocated for each.
var knownText = func() map[string]string {
	m := map[string]string{}
	for _, text := range append(v1alpha3.ConditionTypes(),
		"", "True", "False", "Unknown", v1alpha3.GroupVersion.String(), v1alpha3.Kind, v1alpha3.StatusTypeRef,
		string(v1alpha3.PhasePending), string(v1alpha3.PhaseIssuing), string(v1alpha3.PhaseActive), string(v1alpha3.PhaseDetached),
		string(v1alpha3.PurposeTraffic), string(v1alpha3.PurposeACMEChallenge), string(v1alpha3.PurposeOwnership), "CNAME",
		v1alpha3.KindGateway, v1alpha3.KindProxy, v1alpha3.KindTunnel, v1alpha3.KindEdgeFunction, "gateway.apoxy.dev",
		v1alpha3.ReasonTLSCertificateIssued, v1alpha3.ReasonApoxyChallengeConfigured, v1alpha3.ReasonOwnershipNotVerified,
		v1alpha3.ReasonCertificateIssued, v1alpha3.ReasonWaitingForDNS, v1alpha3.ReasonCNAMENotConfigured,
		v1alpha3.ReasonACMEChallengeDelegationConfigured, v1alpha3.ReasonACMEChallengeDelegationNotConfigured,
		v1alpha3.ReasonTargetHealthy, v1alpha3.ReasonTargetNotFound, v1alpha3.OwnerLabel,
		"FieldsV1", "Apply", "Update", "dns-01", "http-01", "tls-alpn-01",
	) {
		m[text] = text
	}
	return m
}()

// number returns an integer; null is 0.
func (s *scanner) number() int64 {
	if s.word("null") {
		return 0
	}
	negative := s.peek() == '-'
	if negative {
		s.i++
	}
	begin, n := s.i, int64(0)
	for c := s.peek(); c >= '0' && c <= '9'; c = s.peek() {
		n = n*10 + int64(c-'0')
		s.i++
	}
	if digits := s.i - begin; digits == 0 || digits > 18 || digits > 1 && s.b[begin] == '0' {
		s.fail()
	}
	if negative {
		return -n
	}
	return n
}

// boolean returns true or false; null is false.
func (s *scanner) boolean() bool {
	switch {
	case s.word("true"):
		return true
	case s.word("false"), s.word("null"):
		return false
	}
	s.fail()
	return false
}

// optional returns what read finds; null is none.
func optional[T any](s *scanner, read func() T) *T {
	if s.word("null") {
		return nil
	}
	v := read()
	return &v
}

// time returns a time as metav1.Time decodes it; null is none.
func (s *scanner) time() *metav1.Time {
	if s.word("null") {
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(s.bytes()))
	if err != nil {
		s.fail()
		return nil
	}
	return &metav1.Time{Time: t.Local()}
}

// texts returns an array of strings; null is none.
func (s *scanner) texts() []string {
	out := []string{}
	if !s.array(func() { out = append(out, s.text()) }) {
		return nil
	}
	return out
}

// pairs returns an object of strings; null is none.
func (s *scanner) pairs() map[string]string {
	if s.word("null") {
		return nil
	}
	out := map[string]string{}
	s.object(func(key []byte) {
		value := s.text()
		if known, ok := knownText[string(key)]; ok {
			out[known] = value
		} else {
			out[string(key)] = value
		}
	})
	return out
}

// raw passes an object and returns its bytes; they are borrowed. It only finds
// the end: what lies between is its reader's to judge.
func (s *scanner) raw() []byte {
	begin, depth := s.i, 0
	for {
		switch c := s.peek(); c {
		case '"':
			s.quoted()
			continue
		case '{':
			depth++
		case '}':
			depth--
		case 0, ' ', '\t', '\r', '\n':
			s.fail()
			return nil
		}
		s.i++
		if depth == 0 {
			break
		}
	}
	if s.b[begin] != '{' {
		s.fail()
		return nil
	}
	return s.b[begin:s.i]
}
