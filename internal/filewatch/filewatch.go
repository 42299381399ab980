// Package filewatch notices that files changed, by looking at them: what renames,
// links and tools that put times back do is noticed, too.
package filewatch

import (
	"context"
	"os"
	"time"
)

// Poll is how often a file is looked at. A change counts once the file looked the
// same twice, so that one being written does not.
const Poll = 200 * time.Millisecond

// Stamp tells one state of a file from another, also where a change keeps size and
// time: of what was renamed into place, written in place by a tool that puts the
// time back, or is behind a link that leads elsewhere now.
type Stamp struct {
	modified time.Time
	size     int64
	// identity is what the system tells of the file beyond that.
	identity identity
}

// Of is the stamp of the file at path, of which the system says info.
func Of(path string, info os.FileInfo) Stamp {
	return Stamp{info.ModTime(), info.Size(), identify(path, info)}
}

// After reports whether the file was written at t or later.
func (s Stamp) After(t time.Time) bool { return !s.modified.Before(t) }

// Look is Of what the system says now.
func Look(path string) (Stamp, error) {
	info, err := os.Stat(path)
	if err != nil {
		return Stamp{}, err
	}
	return Of(path, info), nil
}

// Run looks until the context ends. Loaded is the state that is in use; look returns
// the present one. Missing is called with the first of several errors in a row, and
// changed once for each state that lasts: it returns the state that is in use from
// then on, or was tried in vain.
func Run[T comparable](ctx context.Context, loaded T, look func() (T, error), missing func(error), changed func(T) T) {
	ticker := time.NewTicker(Poll)
	defer ticker.Stop()
	tried, last, gone := loaded, loaded, false
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now, err := look()
		if err != nil {
			if !gone {
				missing(err)
			}
			var none T
			gone, last = true, none
			continue
		}
		gone = false
		if now == tried || now != last {
			last = now
			continue
		}
		tried = changed(now)
		last = tried
	}
}
