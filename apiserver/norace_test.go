//go:build !race

package apiserver

const (
	hostileBody  = 3 << 20
	raceDetector = false
)
