//go:build !race

package apiserver

const (
	hostileBody   = 3 << 20
	raceAllocates = 1
)
