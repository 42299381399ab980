// Package resolver asks DNS: it sees a name as the world's certificate
// authorities see it, at the authoritative name servers, and tells what it saw in
// the words of ownership. It knows no records, no store and no certificates.
package resolver
