// Package certfiles holds everything that depends on certmagic's internals: where it
// keeps certificates, keys, accounts, challenges and locks in storage, what it has in
// memory, how a handshake reads both, and which events it raises. certmagic promises
// none of that. The tests make real handshakes with it, so that a change by an
// upgrade shows here and nowhere else.
package certfiles
