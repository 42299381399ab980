// Package cli is the command line for DomainRecords: a client of the REST API
// on Caddy's admin endpoint, in the words that kubectl's users know. It knows
// the API's types and nothing of Caddy, of the server's insides or of where
// records are kept; how the endpoint is reached is told to it.
package cli
