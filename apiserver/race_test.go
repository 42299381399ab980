//go:build race

package apiserver

// Under the race detector decoding is many times slower, so bodies are smaller,
// and a sync.Pool forgets what it holds at random, so what is allocated says
// nothing. The test command runs the same test without it, too.
const (
	hostileBody  = 256 << 10
	raceDetector = true
)
