package certfiles

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
)

// full is a shelf whose memory has room for so many certificates, and as many more in
// storage.
func full(t *testing.T, room int) (s *shelf, cache *certmagic.Cache) {
	s = newShelf(t, nil)
	cache = cacheOf(s.magic)
	cache.SetOptions(certmagic.CacheOptions{Capacity: room, Logger: zap.NewNop(),
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return s.magic, nil }})
	for i := range 2 * room {
		save(t, certtest.New(t, nth(i), int64(i+1), time.Hour), s.st, ourCA, nth(i))
	}
	return s, cache
}

func nth(i int) string { return fmt.Sprintf("h%d.example.com", i) }

func shake(t *testing.T, s *shelf, i int) {
	t.Helper()
	if got, err := certtest.Shake(s.magic, nth(i)); err != nil || got != int64(i+1) {
		t.Errorf("%s is shown certificate %d: %v", nth(i), got, err)
	}
}

// certmagic tells neither how many certificates it has in memory nor how many it may
// have, so both are read where this version keeps them.
func TestRoomOfIsWhatCertmagicHas(t *testing.T) {
	s, cache := full(t, 3)
	for i := range 3 {
		if used, capacity := roomOf(cache); used != i || capacity != 3 {
			t.Errorf("%d of %d, want %d of 3", used, capacity, i)
		}
		shake(t, s, i)
	}
}

// Every handshake is shown its certificate, memory stays full, and it is we who choose
// what goes: certmagic's own choice would leave the names of what it took out among ours.
func TestAFullMemoryMakesRoom(t *testing.T) {
	const room = 8
	s, cache := full(t, room)
	for round := range 3 {
		for i := range 2 * room {
			shake(t, s, i)
			l, _ := loadedInto.Load(cache)
			used, _ := roomOf(cache)
			if ours := len(l.(*loaded).names); used > room || ours != used {
				t.Fatalf("round %d: %d in memory, of which %d are known", round, used, ours)
			}
		}
	}
	for i := range 2 * room {
		l, _ := loadedInto.Load(cache)
		if _, known := l.(*loaded).at[nth(i)]; known != InMemory(s.magic, nth(i)) {
			t.Errorf("%s: known to be in memory: %v", nth(i), known)
		}
	}
	s.untouched(t)
}

// What others put into memory, such as certificates of the configuration, is left to
// certmagic as long as there is more of it.
func TestAFullMemoryOfOthersIsLeftToCertmagic(t *testing.T) {
	s, cache := full(t, 4)
	var l loaded
	for i := range 4 {
		shake(t, s, i)
	}
	l.makeRoom(cache, nth(7))
	if used, _ := roomOf(cache); used != 4 {
		t.Errorf("%d are in memory, want 4", used)
	}
}

func TestManyHandshakesInAFullMemory(t *testing.T) {
	s, cache := full(t, 8)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				shake(t, s, (i*7+w)%16)
			}
		})
	}
	wg.Wait()
	if used, _ := roomOf(cache); used > 8 {
		t.Errorf("%d are in memory", used)
	}
}
