package boltstore

import (
	"os"

	"golang.org/x/sys/unix"
)

// aheadBytes is what the system is asked for at a time.
const aheadBytes = 8 << 20

// readAhead has the system bring the file into memory in the order of its bytes, as far as
// half of the machine's memory holds it, until stop is closed. The first reading of a large
// file goes from page to page without order, each a look at the disk of its own.
func readAhead(path string, stop <-chan struct{}) {
	var machine unix.Sysinfo_t
	if unix.Sysinfo(&machine) != nil {
		return
	}
	f, err := os.Open(path)
	if err != nil {
		return // who opens it says why
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return
	}
	size := min(info.Size(), int64(uint64(machine.Totalram)*uint64(machine.Unit)/2))
	for at := int64(0); at < size; at += aheadBytes {
		select {
		case <-stop:
			return
		default:
		}
		if unix.Fadvise(int(f.Fd()), at, aheadBytes, unix.FADV_WILLNEED) != nil {
			return
		}
	}
}
