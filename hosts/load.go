package hosts

import (
	"runtime"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// loading fills an empty table: pages are skimmed on all cores while the next are
// read, and their hosts set in the order of the pages. Only the goroutine that reads
// uses it.
type loading struct {
	pages chan *loadPage // to be set; nil: nothing is under way
	ended chan struct{}  // closed once all are
	free  chan *skimmer  // those that have no work
	// rooms is memory for the values of pages that is free, and lent that of the pages
	// which are being read, in their order.
	rooms, lent chan []byte
}

// A page is so many records, whose values have so much memory, as much as they take at the
// usual size: what finds no room in it has memory of its own. So many cores work on pages.
const (
	pageRecords = 256
	pageRoom    = 1 << 20
	mostCores   = 16
)

// room returns memory for the values of the next page, once some is free. The goroutine
// that reads ahead calls it.
func (l *loading) room() []byte {
	b := <-l.rooms
	l.lent <- b
	return b
}

// ready makes all that loading takes, before the first page is read.
func (l *loading) ready(table *Table) {
	if l.free == nil {
		cores := min(runtime.GOMAXPROCS(0), mostCores)
		n := cores + 3 // one has been read, one is being, and the next waits for that
		l.rooms, l.lent, l.free = make(chan []byte, n), make(chan []byte, n), make(chan *skimmer, cores)
		for range n {
			l.rooms <- make([]byte, 0, pageRoom)
		}
		for range cores {
			l.free <- &skimmer{table: table}
		}
	}
	for len(l.lent) > 0 { // of pages that never came
		l.rooms <- <-l.lent
	}
}

// done lets go of the memory.
func (l *loading) done() { l.rooms, l.lent, l.free = nil, nil, nil }

// loadPage is a page on its way into the table.
type loadPage struct {
	entries []store.KeyValue
	hosts   []*Host
	errs    []error
	skimmed chan struct{} // closed once hosts and errs are there
}

// page takes the next page; it waits while every core has one.
func (l *loading) page(r *keeper, entries []store.KeyValue) {
	room := <-l.lent
	if l.pages == nil {
		l.pages, l.ended = make(chan *loadPage, cap(l.free)), make(chan struct{})
		go func(pages <-chan *loadPage, ended chan<- struct{}) {
			defer close(ended)
			for p := range pages {
				<-p.skimmed
				r.setPage(p)
			}
		}(l.pages, l.ended)
	}
	p := &loadPage{entries, make([]*Host, len(entries)), make([]error, len(entries)), make(chan struct{})}
	s := <-l.free
	go func() {
		defer close(p.skimmed)
		for i := range entries {
			e := &entries[i]
			if p.errs[i] = e.Err; e.Err == nil {
				p.hosts[i], p.errs[i] = s.host(e.Key, e.Value, e.Revision)
			}
			e.Value = nil
		}
		l.rooms <- room
		l.free <- s
	}()
	l.pages <- p
}

// wait returns once all pages are in the table.
func (l *loading) wait() {
	if l.pages != nil {
		close(l.pages)
		<-l.ended
		l.pages = nil
	}
}

// setPage puts the hosts of a page into the table. Nobody is told: that comes once
// the table holds all.
func (r *keeper) setPage(p *loadPage) {
	for i, h := range p.hosts {
		e := &p.entries[i]
		name := strings.TrimPrefix(e.Key, Prefix)
		hostname, known := r.left[name]
		delete(r.left, name)
		if p.errs[i] != nil {
			r.unreadable(e.Key, e.Revision, p.errs[i])
			continue
		}
		if known && hostname != h.Hostname { // as in page, where reading has begun again
			r.forget(name, hostname, e.Revision)
		}
		r.f.Table.Set(h)
	}
}
