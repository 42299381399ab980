package hosts

import "github.com/apoxy-dev/caddy-apoxy/store"

// Decode makes the Host of what the store holds of a record. The error says why it is none.
func Decode(e store.KeyValue) (*Host, error) {
	if e.Err != nil {
		return nil, e.Err
	}
	r, err := decode(e.Key, e.Value)
	if err != nil {
		return nil, err
	}
	return FromRecord(r, e.Revision), nil
}

// ReadThrough has the table answer for a hostname by what read returns, nil: it has no
// record, until it holds all records: a start with very many takes some seconds, and what
// is served is served meanwhile. read is called by many at once; the Host that it returns
// is not the table's, and the hostname is borrowed for the call. It must be called before
// the table is filled.
func (t *Table) ReadThrough(read func(hostname string) *Host) { t.through.Store(&read) }

// Whole reports whether the table holds all records. While it does not, nothing but Get,
// GetBytes, Match, Candidates and what waits for one hostname tells of all of them.
func (t *Table) Whole() bool { return t.through.Load() == nil }

// readThrough is get by ReadThrough.
func readThrough(read func(string) *Host, key string, wildcard bool) *Host {
	if wildcard {
		key = "*." + key
	}
	return read(key)
}
