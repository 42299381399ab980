// Package revocation knows how a CA says that a certificate is to be replaced before
// its time: by OCSP (RFC 6960), whose answers it asks for and checks, and by renewal
// windows (ARI, RFC 9773). It neither stores nor schedules anything.
package revocation
