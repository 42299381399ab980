package store

import (
	"errors"
	"fmt"
)

// DamagedError says that the value at a key cannot be used: it is not what was
// written there, or it was written by mistake. It wraps ErrDamaged and holds no
// byte of the value.
type DamagedError struct {
	// Key is the key whose value is damaged.
	Key string
	// Revision is what KeyValue.Revision is for it.
	Revision int64
	// Reason says what is wrong, such as "its checksum does not hold".
	Reason string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("the stored value at key %.200q is damaged: %s", e.Key, e.Reason)
}

func (e *DamagedError) Unwrap() error { return ErrDamaged }

// Reporter is a Store that takes note of the damage that its readers find.
type Reporter interface {
	// Report says that the value at key, written at revision, is whole and yet
	// not what its readers understand. It returns whether note was taken.
	Report(key string, revision int64, why error) bool
}

// Report tells s, if it is a Reporter, of a value that its reader cannot use. s may
// treat the value as damaged from then on. An error that wraps ErrDamaged came from s
// and is not told. If Report returns false, nobody has logged the value: its reader must.
func Report(s Store, key string, revision int64, why error) (noted bool) {
	r, ok := s.(Reporter)
	return ok && (errors.Is(why, ErrDamaged) || r.Report(key, revision, why))
}
