package filewatch

import (
	"os"
	"syscall"
)

// identity is the file itself and when anything about it, content or name, was last
// changed, which no tool can put back.
type identity struct {
	device, inode      uint64
	changed, changedNS int64
}

func identify(_ string, info os.FileInfo) identity {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{uint64(st.Dev), st.Ino, int64(st.Ctim.Sec), int64(st.Ctim.Nsec)}
}
