// Package issuance gets certificates and keeps them fresh: it chooses the
// challenge per name, runs the ACME flow (RFC 8555) on acmez, obeys what the CA
// asks of it, schedules first issuances and renewals, and remembers what is
// stored. It neither serves DNS nor decides who owns a name.
package issuance
