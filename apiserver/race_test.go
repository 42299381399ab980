//go:build race

package apiserver

// Under the race detector, which slows decoding down many times over and has it
// allocate up to three times as much, bodies are smaller. The test
// command runs the same test without it, too.
const (
	hostileBody   = 1 << 20
	raceAllocates = 3
)
