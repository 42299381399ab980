package boltstore

import (
	"go.etcd.io/bbolt"
)

// BroughtOn reports whether the file says that everything is in the present format.
func (s *Store) BroughtOn() (all bool) {
	_ = s.db.View(func(tx *bbolt.Tx) error {
		sealed, packed := upgraded(tx)
		all = sealed && packed
		return nil
	})
	return all
}
