//go:build !race

package apiserver

const raceAllocates = 1
