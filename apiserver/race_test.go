//go:build race

package apiserver

// raceAllocates is how many times as much the race detector has a program
// allocate, at the most that was seen, rounded up.
const raceAllocates = 2
