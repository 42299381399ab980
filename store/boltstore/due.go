package boltstore

import (
	"context"
	"errors"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// compactEvery is how often it is looked whether the file should be compacted, and
// compactAgain how many times as long it is left alone after that failed.
const (
	compactEvery = time.Minute
	compactAgain = 60
)

// leastFree is the free room, in bytes, below which compacting a file is not worth it.
const leastFree = 64 << 20

// isDue decides whether a file is compacted, of whose pages so many are free: more than half.
func isDue(free, pages uint64, pageSize int) bool {
	return free > pages/2 && free*uint64(pageSize) > leastFree
}

// compactWhenDue compacts the file now and then, as long as the store is open.
func (s *Store) compactWhenDue(every time.Duration) {
	for wait := every; ; {
		select {
		case <-s.stop:
			return
		case <-time.After(wait):
		}
		wait = every
		in := s.file.Load()
		pageSize := in.db.Info().PageSize
		free, pages, err := freePages(in.file, pageSize)
		if err != nil || !isDue(free, pages, pageSize) {
			continue // if it cannot be read, the next who writes will say so
		}
		_, _, err = s.Shrink(context.Background())
		switch {
		case err == nil, errors.Is(err, store.ErrClosed), errors.Is(err, ErrCompacting), errors.Is(err, errUpgrading):
		default:
			wait = compactAgain * every
			s.log.Warn("more than half of the store's file is free, and compacting it failed", zap.String("file", s.path), zap.Error(err))
		}
	}
}

// freePages counts the pages of a file, and those of them that are free.
func freePages(f *os.File, pageSize int) (free, pages uint64, err error) {
	m, err := newestMeta(f, pageSize)
	if err != nil || m.freelist == noFreelist {
		return 0, m.pages, err
	}
	head := make([]byte, pageHeader+8)
	if _, err := f.ReadAt(head, int64(m.freelist)*int64(pageSize)); err != nil {
		return 0, m.pages, err
	}
	if order.Uint64(head) != m.freelist || order.Uint16(head[8:]) != flagFreelist {
		return 0, m.pages, nil // written anew just now
	}
	if free = uint64(order.Uint16(head[10:])); free == 0xFFFF {
		free = order.Uint64(head[pageHeader:])
	}
	return min(free, m.pages), m.pages, nil
}
