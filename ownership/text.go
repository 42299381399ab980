package ownership

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Bounds of what messages and status repeat of foreign text.
const (
	maxForeign  = 100  // octets of one quoted value
	maxWords    = 300  // octets of somebody else's sentence
	maxMend     = 700  // octets of issuance's advice, longer than any it gives
	maxMessage  = 2000 // octets of a message
	maxKind     = 60   // octets of it that name another condition
	maxObserved = 16   // entries of dnsRecords[].observed
	maxValue    = 255  // octets of one such entry
	maxListed   = 4    // values that one message lists
	maxChain    = 32   // links of a CNAME chain that are looked at
	maxOther    = 64   // further records at a name that are looked at
)

// cutMark stands for what was cut.
const cutMark = "..."

// sentence writes a record as the customer creates it: "x. CNAME y."
func sentence(d v1alpha3.DNSRecord) string { return d.Name + " " + d.Type + " " + d.Value }

// quote makes a foreign value fit to be repeated: quoted, printable ASCII, cut.
func quote(s string) string {
	q := strconv.QuoteToASCII(cut(s, maxForeign))
	if len(q) > 2*maxForeign {
		return cut(q, 2*maxForeign) + `"`
	}
	return q
}

// words makes a foreign sentence fit to be part of ours: one line, printable,
// cut, without a final full stop.
func words(s string) string {
	s = cut(s, 4*maxWords)
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, s)
	return strings.TrimRight(cut(strings.Join(strings.Fields(s), " "), maxWords), ". ")
}

// cut shortens s to at most n octets and shows that it did.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	s = s[:n-len(cutMark)]
	for s != "" {
		if r, size := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || size > 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + cutMark
}

// join puts sentences together, leaving out empty ones, and bounds the whole.
func join(sentences ...string) string { return fit(maxMessage, sentences...) }

// fit is join for another bound. What does not fit is cut off what comes first: who
// must act, and how, is said last.
func fit(most int, sentences ...string) string {
	sentences = slices.DeleteFunc(sentences, func(s string) bool { return s == "" })
	whole := strings.Join(sentences, " ")
	if len(whole) <= most {
		return whole
	}
	last := sentences[len(sentences)-1]
	if room := most - len(last) - 1; room >= maxForeign {
		return cut(strings.Join(sentences[:len(sentences)-1], " "), room) + " " + last
	}
	for whole = whole[len(whole)-most+len(cutMark):]; whole != "" && !utf8.RuneStart(whole[0]); {
		whole = whole[1:]
	}
	return cutMark + whole
}

// quoteAll quotes some values and counts the rest.
func quoteAll(values []string) string {
	var b strings.Builder
	for i, v := range values {
		if i == maxListed {
			b.WriteString(" and " + strconv.Itoa(len(values)-i) + " more")
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quote(v))
	}
	return b.String()
}

// stamp writes a moment the same way everywhere: UTC, to the second.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// minuteAfter writes a moment that is only roughly known: the next full minute,
// so that looks a little apart write the same.
func minuteAfter(t time.Time) string {
	return stamp(t.UTC().Add(time.Minute - time.Nanosecond).Truncate(time.Minute))
}

// addresses writes addresses in order, IPv4 first.
func addresses(addrs []netip.Addr) []string {
	addrs = slices.Clone(addrs)
	slices.SortFunc(addrs, netip.Addr.Compare)
	out := make([]string, len(addrs))
	for i, a := range addrs {
		out[i] = a.String()
	}
	return out
}

// absolute brings a name into the form that names are compared in: lower case
// with the final dot.
func absolute(name string) string {
	return strings.ToLower(strings.TrimSuffix(name, ".")) + "."
}

// labels splits a name; the root has none.
func labels(name string) []string {
	name = strings.TrimSuffix(name, ".")
	if name == "" {
		return nil
	}
	return strings.Split(name, ".")
}

// after puts a lead before s, unless there is no s.
func after(lead, s string) string {
	if s == "" {
		return ""
	}
	return lead + s
}

// or is s, or instead of nothing another.
func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// capital begins a sentence.
func capital(s string) string {
	r, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	return string(unicode.ToUpper(r)) + s[size:]
}
