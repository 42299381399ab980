package hosts

import "encoding/hex"

// uidForm is how a Host keeps the record's uid.
type uidForm uint8

const (
	uidNone    uidForm = iota // it has none
	uidCompact                // in 16 bytes
	uidRare                   // in rare
)

// hyphens are where they stand in a UUID (RFC 9562 section 4), and ends its length.
var hyphens = [...]int{8, 13, 18, 23}

const uidLength = 36

// packUID returns the bytes of a UUID in the form in which the API makes them, in
// lower case; false: it is something else.
func packUID(uid string) (packed [16]byte, ok bool) {
	if len(uid) != uidLength {
		return packed, false
	}
	at, digits := 0, 0
	for i := range len(uid) {
		if at < len(hyphens) && i == hyphens[at] {
			if uid[i] != '-' {
				return packed, false
			}
			at++
			continue
		}
		var digit byte
		switch c := uid[i]; {
		case '0' <= c && c <= '9':
			digit = c - '0'
		case 'a' <= c && c <= 'f':
			digit = c - 'a' + 10
		default:
			return packed, false
		}
		packed[digits/2] = packed[digits/2]<<4 | digit
		digits++
	}
	return packed, true
}

// uidText is the UUID that packUID was given.
func uidText(packed [16]byte) string {
	var text [uidLength]byte
	from := 0
	for i, bytes := range [...]int{4, 2, 2, 2, 6} {
		to := from + 2*bytes
		first := (from - i) / 2
		hex.Encode(text[from:to], packed[first:first+bytes])
		if to < uidLength {
			text[to] = '-'
		}
		from = to + 1
	}
	return string(text[:])
}
