package apiserver

import (
	"context"
	"errors"
	"fmt"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// CheckHostname says why the value at a key below HostnamePrefix names no
// record; nil: it does.
func CheckHostname(_ string, value []byte) error {
	if len(value) == 0 {
		return errors.New("it names no record")
	}
	return nil
}

// RecordAgrees compares a record's entry with the entry of its hostname, which must
// name the record. It returns what is wrong (empty: nothing) and how to mend it. Both
// entries are always written together, so if the record was written between the two
// look-ups, nothing is wrong.
func RecordAgrees(ctx context.Context, st store.Store, e store.KeyValue) (what, mend string, err error) {
	var hostname string
	if err := readMember(e.Value, &hostname, "spec", "name"); err != nil {
		return "", "", nil // another finding
	}
	held, _, err := st.Get(ctx, hostnameKey(hostname))
	name := e.Key[len(recordPrefix):]
	mend = "delete the record by its name and create it again"
	switch {
	case errors.Is(err, store.ErrDamaged):
		return "", "", nil // a finding of its own
	case errors.Is(err, store.ErrNotFound):
		what = fmt.Sprintf("its hostname %.260q is not kept as taken", hostname)
	case err != nil:
		return "", "", fmt.Errorf("reading who holds %.260q: %w", hostname, err)
	case string(held.Value) != name:
		what = fmt.Sprintf("its hostname %.260q is kept as taken by the record %.260q", hostname, held.Value)
	default:
		return "", "", nil
	}
	now, _, err := st.Get(ctx, e.Key)
	if err == nil && now.Revision != e.Revision || errors.Is(err, store.ErrNotFound) {
		return "", "", nil
	}
	return what, mend, nil
}

// HostnameAgrees compares the entry of a hostname with the record that it names,
// which must have that hostname; otherwise as RecordAgrees.
func HostnameAgrees(ctx context.Context, st store.Store, e store.KeyValue) (what, mend string, err error) {
	hostname, name := e.Key[len(HostnamePrefix):], string(e.Value)
	r, _, err := st.Get(ctx, recordKey(name))
	var has string
	switch {
	case errors.Is(err, store.ErrDamaged):
		return "", "", nil
	case errors.Is(err, store.ErrNotFound):
		what, mend = fmt.Sprintf("it names the record %.260q, which does not exist", name), "create a record for the hostname: it takes the place"
	case err != nil:
		return "", "", fmt.Errorf("reading the record %.260q: %w", name, err)
	case readMember(r.Value, &has, "spec", "name") != nil || has == hostname:
		return "", "", nil
	default:
		what = fmt.Sprintf("it names the record %.260q, whose hostname is %.260q", name, has)
		mend = fmt.Sprintf("restore a backup, or delete the record %.260q by its name and create it again", name)
	}
	now, _, err := st.Get(ctx, e.Key)
	if err == nil && now.Revision != e.Revision || errors.Is(err, store.ErrNotFound) {
		return "", "", nil
	}
	return what, mend, nil
}
