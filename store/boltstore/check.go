package boltstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"
)

// Check looks at the structure of the whole file, which must have been opened
// ReadOnly: at every page, and at the list of free ones. It calls tell with what
// is wrong, a sentence each; an error of tell ends the look.
func (s *Store) Check(ctx context.Context, tell func(what string) error) error {
	if !s.readOnly {
		return fmt.Errorf("checking %s: %w: its pages change while it is written to", s.path, errors.ErrUnsupported)
	}
	in := s.file.Load()
	info, err := in.file.Stat()
	if err != nil {
		return fmt.Errorf("checking the store: %w", err)
	}
	const whole = 24 * time.Hour
	if _, err := verify(in.file, info.Size(), in.db.Info().PageSize, whole); err != nil {
		return tell(err.Error()) // bbolt's own look could crash over it
	}
	return guard(s.path, func() error {
		return in.db.View(func(tx *bbolt.Tx) error {
			found := tx.Check(bbolt.WithKVStringer(quiet{}))
			var first error
			for err := range found { // to the end: else its goroutine stays
				if first == nil {
					first = ctx.Err()
				}
				if first == nil {
					first = tell(err.Error())
				}
			}
			return first
		})
	})
}

// quiet keeps values out of bbolt's words.
type quiet struct{}

func (quiet) KeyToString(k []byte) string { return fmt.Sprintf("%.60q", k) }
func (quiet) ValueToString([]byte) string { return "…" }
