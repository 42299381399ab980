package certfiles

import (
	"math/rand/v2"
	"reflect"
	"sync"

	"github.com/caddyserver/certmagic"
)

// This file makes room in certmagic's memory. When that is full certmagic walks through
// half of it, on average, to find the certificate that a new one takes the place of, and
// holds its lock all the while: with more hostnames than fit (`cache_capacity`, ten
// thousand) every handshake whose certificate must be loaded would, and all others wait.
// Here the one that goes is drawn at random, as there, but at once.

// loadedInto has the *loaded of each *certmagic.Cache: Caddy keeps one beyond its
// configurations.
var loadedInto sync.Map

// makeRoom takes a certificate out of the memory of a configuration if that is full, for
// that of a hostname, which is about to be loaded.
func makeRoom(cfg *certmagic.Config, hostname string) {
	cache := cacheOf(cfg)
	if cache == nil {
		return
	}
	l, ok := loadedInto.Load(cache)
	if !ok {
		l, _ = loadedInto.LoadOrStore(cache, new(loaded))
	}
	l.(*loaded).makeRoom(cache, hostname)
}

// loaded are the hostnames whose certificates handshakes have loaded into a cache, in no
// order. Some may have left it since. The zero value is ready for use.
type loaded struct {
	mu    sync.Mutex
	names []string
	at    map[string]int // where in names
}

// victims is how many hostnames are drawn at most to find one that is still in memory.
const victims = 4

func (l *loaded) makeRoom(cache *certmagic.Cache, hostname string) {
	for range victims {
		used, capacity := roomOf(cache)
		if capacity <= 0 || used < capacity {
			break
		}
		victim, ok := l.draw(used / 2)
		if !ok {
			break
		}
		cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: victim}})
	}
	l.enter(hostname)
}

func (l *loaded) enter(hostname string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.at[hostname]; there {
		return
	}
	if l.at == nil {
		l.at = map[string]int{}
	}
	l.at[hostname] = len(l.names)
	l.names = append(l.names, hostname)
}

// draw takes out a hostname; false: there are too few, so that certmagic, which draws
// from all that is in memory, has to choose.
func (l *loaded) draw(few int) (hostname string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.names) == 0 || len(l.names) < few {
		return "", false
	}
	i, last := rand.IntN(len(l.names)), len(l.names)-1
	hostname = l.names[i]
	l.names[i] = l.names[last]
	l.at[l.names[i]] = i
	l.names[last] = ""
	l.names = l.names[:last]
	delete(l.at, hostname)
	return hostname, true
}

// roomOf returns how many certificates a cache has, and how many it may have, 0 for any
// number. certmagic tells neither, so both are read where it keeps them, under its locks;
// if a later one renames them a test fails, and a full cache is left to it.
func roomOf(cache *certmagic.Cache) (used, capacity int) {
	v := reflect.ValueOf(cache).Elem()
	certs, options := v.FieldByName("cache"), v.FieldByName("options")
	mu, optionsMu := lockOf(v.FieldByName("mu")), lockOf(v.FieldByName("optionsMu"))
	if mu == nil || optionsMu == nil || !certs.IsValid() || certs.Kind() != reflect.Map || options.Kind() != reflect.Struct {
		return 0, 0
	}
	limit := options.FieldByName("Capacity")
	if !limit.IsValid() || limit.Kind() != reflect.Int {
		return 0, 0
	}
	mu.RLock()
	used = certs.Len()
	mu.RUnlock()
	optionsMu.RLock()
	defer optionsMu.RUnlock()
	return used, int(limit.Int())
}

// lockOf is the lock that v is, nil if it is none.
func lockOf(v reflect.Value) *sync.RWMutex {
	if !v.IsValid() || v.Type() != reflect.TypeFor[sync.RWMutex]() {
		return nil
	}
	return (*sync.RWMutex)(v.Addr().UnsafePointer())
}
