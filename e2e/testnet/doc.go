// Package testnet is a small internet on loopback addresses, inside a network,
// mount and process namespace of its own: root and TLD name servers, a customer's
// DNS provider whose zones can be edited, a recursive resolver, an ACME CA and a
// foreign web server. It knows nothing of the product under test but its
// addresses and the delegation of its zone.
package testnet
