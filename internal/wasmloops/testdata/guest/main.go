// Command guest computes in the ways that Go programs do, and prints what came out.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"sort"
	"strings"
	"sync"
)

func fib(n int) int {
	if n < 2 {
		return n
	}
	return fib(n-1) + fib(n-2)
}

func main() {
	fmt.Println(fib(25))
	fmt.Printf("%x\n", sha256.Sum256(bytes.Repeat([]byte("counted "), 100_000)))
	words := strings.Fields(strings.Repeat("the loops of this guest are counted by the host ", 1000))
	count := map[string]int{}
	for _, w := range words {
		count[w]++
	}
	keys := make([]string, 0, len(count))
	for k := range count {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	fmt.Println(keys, math.Sqrt(2), math.Inf(-1))
	var wait sync.WaitGroup
	results := make(chan int, 8)
	for i := range 8 {
		wait.Go(func() { results <- fib(i) })
	}
	wait.Wait()
	sum := 0
	for range 8 {
		sum += <-results
	}
	defer func() { fmt.Println(sum, recover()) }()
	var none []int
	fmt.Println(none[sum])
}
