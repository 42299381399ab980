// Package words prepares foreign text for messages.
package words

import "strings"

// Cut shortens s to n octets at most, at a rune's border, and marks that with "…".
func Cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
