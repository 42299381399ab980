package certstorage

import (
	"fmt"
	"path"
	"strings"
	"unicode/utf8"
)

// What the keys of a store begin with.
const (
	// Prefix is before the keys of values.
	Prefix = "storage/"
	// LockPrefix is before the names of locks.
	LockPrefix = "storage-locks/"
	// KeyPrefix is before the IDs of encryption keys.
	KeyPrefix = "storage-keys/"
)

// maxKey bounds a key, and the name of a lock, in bytes. certmagic's own have a few
// hundred.
const maxKey = 2048

// clean brings a key of certmagic's to the one form under which it is kept, as a file
// system would: without slashes at its ends, and nothing leads out of it. The root is "".
func clean(key string) (string, error) {
	if err := checkName(key); err != nil {
		return "", fmt.Errorf("key of storage %.100q: %w", key, err)
	}
	return strings.TrimPrefix(path.Clean("/"+key), "/"), nil
}

// file is clean for a key that a value is to be at.
func file(key string) (string, error) {
	at, err := clean(key)
	if err == nil && at == "" {
		err = fmt.Errorf("key of storage %.100q: it names no value", key)
	}
	return at, err
}

func checkName(name string) error {
	switch {
	case len(name) > maxKey:
		return fmt.Errorf("it has %d bytes, at most %d are kept", len(name), maxKey)
	case !utf8.ValidString(name) || strings.ContainsRune(name, 0):
		return fmt.Errorf("it is not text in UTF-8")
	}
	return nil
}

// pathElements are what stands between the slashes of a key, and, for the last one, its
// name without the extension too.
func pathElements(key string) []string {
	all := strings.Split(key, "/")
	last := all[len(all)-1]
	if base := strings.TrimSuffix(last, path.Ext(last)); base != last && base != "" {
		all = append(all, base)
	}
	return all
}
