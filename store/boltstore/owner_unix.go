//go:build unix

package boltstore

import (
	"os"
	"syscall"
)

// own gives a file the owner and the group that another has.
func own(path string, of os.FileInfo) error {
	now, err := os.Stat(path)
	if err != nil {
		return err
	}
	want, known := of.Sys().(*syscall.Stat_t)
	has, ok := now.Sys().(*syscall.Stat_t)
	if !known || !ok || want.Uid == has.Uid && want.Gid == has.Gid {
		return nil
	}
	return os.Chown(path, int(want.Uid), int(want.Gid))
}
