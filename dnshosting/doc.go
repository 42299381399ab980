// Package dnshosting knows who hosts DNS zones: whose name servers are whose, where a
// customer changes a record there, and what that provider's form calls its fields.
//
//	name servers of a zone → recognise.go (patterns by label) → Provider (provider.go)
//
// The table is in clouds.go, registrars.go and europe.go. It says only what is certain;
// for the rest stand generic words. It does no I/O and knows no records: whoever has
// looked at a zone asks it.
package dnshosting
