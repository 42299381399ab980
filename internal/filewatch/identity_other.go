//go:build !linux

package filewatch

import (
	"crypto/sha256"
	"os"
)

// identity is the content's digest. Files above maxIdentified are told apart by size
// and time alone.
type identity [sha256.Size]byte

const maxIdentified = 1 << 20

func identify(path string, info os.FileInfo) identity {
	if info.Size() > maxIdentified || !info.Mode().IsRegular() {
		return identity{}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return identity{} // whoever loads the file is told
	}
	return sha256.Sum256(data)
}
