package issuance

import "time"

// Polls begin soon, because a CA with little to do is done in milliseconds, and
// grow rare, because one with much to do should not be asked over and over.
const (
	firstPoll = 50 * time.Millisecond
	lastPoll  = 3 * time.Second
)
