// Package specialpurpose knows which IP addresses are not a stranger's to name:
// those of the IANA Special-Purpose Address Registries and what is like them. It
// decides about addresses and knows nothing of who asks, or of DNS.
package specialpurpose
