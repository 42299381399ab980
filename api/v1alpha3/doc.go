// Package v1alpha3 is the API that users meet: the DomainRecord, its wire
// types, defaults, validation, table columns and schema, and the names in the
// operator's zone that follow from a hostname. It does no I/O, reads no clock
// and knows nothing of Caddy or of where records are kept, so that clients may
// import it alone.
package v1alpha3
