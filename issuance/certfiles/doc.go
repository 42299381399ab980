// Package certfiles is everything that is known here of certmagic's inside: where
// it keeps certificates, keys, accounts, challenges and locks in storage, what it
// has in memory, how a handshake goes through both, and which events it raises.
// None of that is promised by certmagic. Its tests make real handshakes with it,
// so that what an upgrade changes shows here and nowhere else.
package certfiles
