package bench

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime is the processor time that this process has used. On a machine that
// others use too it says more than the clock does.
func cpuTime(b testing.TB) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
