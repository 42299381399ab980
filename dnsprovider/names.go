package dnsprovider

// Names is what the zone needs to know of the records: which hostnames have
// one. All methods are called for every query: no lock across work and, once Whole,
// no I/O and no allocation. Names are in presentation form, lower case, without a final
// dot, and are borrowed for the call only.
type Names interface {
	// Lookup returns the record of exactly this hostname ("*.example.com" is
	// asked for by that name).
	Lookup(hostname []byte) (Name, bool)
	// HasBelow reports whether any record's hostname lies below name, that is
	// whether name is at least an empty non-terminal (RFC 8499) under the zone.
	HasBelow(name []byte) bool
	// Whole reports whether HasBelow knows all records, and Lookup fails for none that there
	// is. While it does not, no name is said not to exist.
	Whole() bool
}

// Name is what the zone needs to know of one record.
type Name struct {
	// TTL of the answers, in seconds.
	TTL uint32
	// TLS: _acme-challenge of the name exists.
	TLS bool
	// Unsettled: a query for the name is worth a hint.
	Unsettled bool
}
