// Package ownchain judges a certificate chain and a private key that a customer brings:
// whether they fit each other and the hostname, and clients would accept them. It is
// pure: it asks no network and no storage, and says what is wrong without ever quoting
// a key.
package ownchain
