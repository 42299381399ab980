package hosts

import (
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/net/idna"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Bounds on what a search takes: its words and the bytes of each.
const (
	maxWords = 8
	maxWord  = 253
)

// reasonFrom is from how many letters on a word may be the beginning of a reason.
const reasonFrom = 3

// word is one of those that a search looks for, in lower case.
type word struct {
	text string
	// key and value are what stands before and behind its "=", if it has one.
	key, value string
	pair       bool
	// facets are the phase and the reasons that it may mean.
	facets facets
	// grams are those of what a hostname or a label's value has that has the word.
	grams []uint16
}

// wordsOf are the words of a text, up to maxWords of them.
func wordsOf(text string) (words []word) {
	for field := range strings.FieldsSeq(strings.ToLower(text)) {
		if len(words) == maxWords {
			break
		}
		if len(field) > maxWord {
			field = field[:maxWord]
		}
		w := word{text: field}
		w.key, w.value, w.pair = strings.Cut(field, "=")
		if ascii, err := idna.ToASCII(field); err == nil { // hostnames are kept as A-labels
			w.text = ascii
		}
		if w.facets, w.grams = meant(w.text), gramsOf(w.text); w.pair {
			w.grams = gramsOf(w.value)
		}
		words = append(words, w)
	}
	return words
}

// goodReasons are those of conditions that are True: almost every record has some of
// them, so that only the whole word means one.
var goodReasons = []string{
	v1alpha3.ReasonReady, v1alpha3.ReasonTLSCertificateIssued, v1alpha3.ReasonApoxyChallengeConfigured, v1alpha3.ReasonCNAMEConfigured,
	v1alpha3.ReasonAddressConfigured, v1alpha3.ReasonACMEChallengeDelegationConfigured, v1alpha3.ReasonTargetHealthy, v1alpha3.ReasonCertificateIssued,
}

// meant are the facets of the phase and the reasons that a word may stand for.
func meant(text string) facets {
	f := reasonFacets(func(reason string) bool {
		whole := strings.ToLower(reason)
		if len(text) < reasonFrom || slices.Contains(goodReasons, reason) {
			return text == whole
		}
		return strings.HasPrefix(whole, text)
	})
	for i, p := range phases {
		if text == strings.ToLower(string(p)) {
			f.add(i)
		}
	}
	return f
}

// has reports whether a host has every word, and waits for what is asked for.
func (s *searching) has(h *Host) bool {
	if s.awaits != 0 && awaited(h.reasons) != s.awaits {
		return false
	}
	for i := range s.words {
		w := &s.words[i]
		switch {
		case strings.Contains(h.Hostname, w.text):
		case h.marks != nil && s.marked(h.marks)&(1<<i) != 0:
		case h.rare != nil && strings.Contains(h.rare.name, w.text):
		case !w.facets.empty() && !facetsOf(h).and(w.facets).empty():
		default:
			return false
		}
	}
	return true
}

// mayHave reports whether a host of a leaf, below which there are these facets, may have
// every word.
func (s *searching) mayHave(l *leaf, below facets) bool {
	for i := range s.words {
		w := &s.words[i]
		if below.and(w.facets).empty() && !l.grams.may(w.grams) {
			return false
		}
	}
	return true
}

// marked is which words some labels have, a bit each.
func (s *searching) marked(m *marks) uint8 {
	slot := &s.known[uintptr(unsafe.Pointer(m))/unsafe.Sizeof(*m)%uintptr(len(s.known))]
	if slot.of != m {
		slot.of, slot.have = m, 0
		for key, value := range packed(m.labels()) {
			for i := range s.words {
				if s.words[i].labelled(key, value) {
					slot.have |= 1 << i
				}
			}
		}
	}
	return slot.have
}

// labelled reports whether a label has the word.
func (w *word) labelled(key, value string) bool {
	if w.pair {
		return hasSuffixFold(key, w.key) && hasPrefixFold(value, w.value)
	}
	return containsFold(value, w.text)
}

// The three below take letters of ASCII in either case for the same; labels have no
// others. What is sought is in lower case.

func containsFold(s, sought string) bool {
	for i := 0; i+len(sought) <= len(s); i++ {
		if hasPrefixFold(s[i:], sought) {
			return true
		}
	}
	return false
}

func hasPrefixFold(s, sought string) bool {
	if len(s) < len(sought) {
		return false
	}
	for i := range len(sought) {
		if lower(s[i]) != sought[i] {
			return false
		}
	}
	return true
}

func hasSuffixFold(s, sought string) bool {
	return len(s) >= len(sought) && hasPrefixFold(s[len(s)-len(sought):], sought)
}
