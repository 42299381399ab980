package boltstore

import (
	"time"

	"go.etcd.io/bbolt"
)

// BroughtOn reports whether the file says that everything is in the present format.
func (s *Store) BroughtOn() (all bool) {
	_ = s.file.Load().db.View(func(tx *bbolt.Tx) error {
		sealed, packed := upgraded(tx)
		all = sealed && packed
		return nil
	})
	return all
}

// Hasty are options with which no leaf is looked into at the opening that need not be;
// the history, which is read then, is short.
func Hasty() Options { return Options{verifyTime: -time.Hour, History: 10} }

// Inspected waits until all that was left at the opening was looked at.
func (s *Store) Inspected() { s.inspecting.Wait() }

// AtStep has f told of each step of Shrink, for the whole process.
func AtStep(f func(string)) { atStep = f }

// CompactsEvery are options with which it is looked so often whether to compact; the
// history is short.
func CompactsEvery(d time.Duration) Options { return Options{compactEvery: d, History: 10} }

// IsDue is isDue.
var IsDue = isDue
