//go:build wasip1

// Command compute is a guest that computes, in calls, in loops and by the library.
package main

import (
	"crypto/sha256"
	"sort"
)

func main() {}

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

var block = make([]byte, 1<<18)

//go:wasmexport calls
func calls() uint32 { return uint32(fib(24)) }

//go:wasmexport loops
func loops() uint32 {
	sum := uint32(0)
	for range 10 {
		for i, b := range block {
			sum = sum*31 + uint32(b) + uint32(i)
		}
	}
	return sum
}

//go:wasmexport library
func library() uint32 {
	sum := sha256.Sum256(block)
	numbers := make([]int, 20_000)
	for i := range numbers {
		numbers[i] = (i * 7919) % 20_011
	}
	sort.Ints(numbers)
	return uint32(sum[0]) + uint32(numbers[7])
}
