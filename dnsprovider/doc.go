// Package dnsprovider is the authoritative DNS server of the operator's zone:
// name to answer, the UDP and TCP server around it, RFC 1035 zone files served
// beside it, and its libdns face. It reads records through a small interface
// and knows nothing of how they are verified.
package dnsprovider
