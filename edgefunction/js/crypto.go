package js

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // SHA-1 is part of the Web API
	"crypto/sha256"
	"crypto/sha512"
	"hash"
)

// hashes are the digests of Web Cryptography, sections 31 and 29 (HMAC).
var hashes = map[string]func() hash.Hash{
	"SHA-1": sha1.New, "SHA-256": sha256.New, "SHA-384": sha512.New384, "SHA-512": sha512.New,
}

func opRandom(i *instance, args []handle) (handle, error) {
	n, err := i.number(args, 0, 64<<10)
	if err != nil {
		return 0, err
	}
	data := make([]byte, n)
	_, _ = rand.Read(data) // it never fails
	return i.giveBytes(data)
}

func opDigest(i *instance, args []handle) (handle, error) {
	name, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	data, err := i.buffer(args, 1)
	if err != nil || hashes[name] == nil {
		return 0, errOr(err)
	}
	h := hashes[name]()
	h.Write(data)
	return i.giveBytes(h.Sum(nil))
}

func opHMAC(i *instance, args []handle) (handle, error) {
	name, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	key, err := i.buffer(args, 1)
	if err != nil || hashes[name] == nil {
		return 0, errOr(err)
	}
	data, err := i.buffer(args, 2)
	if err != nil {
		return 0, err
	}
	mac := hmac.New(hashes[name], key)
	mac.Write(data)
	return i.giveBytes(mac.Sum(nil))
}

// opEqual compares two buffers in a time that does not tell where they differ.
func opEqual(i *instance, args []handle) (handle, error) {
	a, err := i.buffer(args, 0)
	if err != nil {
		return 0, err
	}
	b, err := i.buffer(args, 1)
	if err != nil {
		return 0, err
	}
	if hmac.Equal(a, b) {
		return i.giveText("yes")
	}
	return i.giveText("no")
}

func errOr(err error) error {
	if err != nil {
		return err
	}
	return errBounds
}
