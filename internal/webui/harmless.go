package webui

import (
	"bytes"
	"unicode"
)

// harmless is a page without the characters that show nothing and change how what stands
// around them is read: control characters, those that turn the direction of writing
// (Unicode Standard Annex 9; a hostname would be shown in another order than it has) and
// invisible ones. A mark stands in the place of each. What joins letters within a word
// stays.
func harmless(page []byte) []byte {
	if bytes.IndexFunc(page, harmful) < 0 {
		return page
	}
	return bytes.Map(func(r rune) rune {
		if harmful(r) {
			return unicode.ReplacementChar
		}
		return r
	}, page)
}

func harmful(r rune) bool {
	switch {
	case r == '\n', r == '\t', r == '\r':
		return false
	case r < 0x7f && r >= ' ':
		return false
	case unicode.IsControl(r):
		return true
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x061c, r == 0x200e, r == 0x200f: // directions
		return true
	case r == 0x2028, r == 0x2029, r == 0x200b, r == 0x2060, r == 0xfeff, r >= 0xe0000 && r <= 0xe007f: // invisible
		return true
	}
	return false
}
