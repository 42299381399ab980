// Package revocation reads how a CA says that a certificate must be replaced early: by
// OCSP (RFC 6960), whose responders it asks and whose answers it checks, and by renewal
// windows (ARI, RFC 9773). It neither stores nor schedules anything.
package revocation
