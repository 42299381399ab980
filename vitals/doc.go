// Package vitals remembers what was counted over the last hour, in memory: counters of
// this process are read now and then, and what each grew by is kept. It knows counters
// alone, and nothing of what they count.
package vitals
