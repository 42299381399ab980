package boltstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"time"
)

// The layout of a bolt file (version 2), in the byte order of the machine that
// wrote it. bbolt follows page numbers and offsets unchecked: a damaged one
// makes it fault or recurse without end, so they are checked before it does.
const (
	boltMagic   = 0xED0CDAED
	boltVersion = 2

	pageHeader  = 16 // id uint64, flags, count uint16, overflow uint32
	pageElement = 16

	flagBranch   = 0x01
	flagLeaf     = 0x02
	flagFreelist = 0x10

	elementBucket = 0x01
	bucketHeader  = 16 // root page, sequence uint64

	metaBytes    = 64
	metaChecksum = 56 // where the checksum stands, which covers what is before it

	// noFreelist in place of a page: the list of free pages was not saved.
	noFreelist = ^uint64(0)
	// maxDepth of a tree: far more than any file reaches.
	maxDepth = 48
)

var order = binary.NativeEndian

// verifyTime bounds the reading of leaves when a file is opened.
const verifyTime = 150 * time.Millisecond

// verify checks the tree of pages of a bolt file and that no page in use is
// listed as free, so that writing on cannot destroy what is there. After the
// time given it looks into no more leaves than one below each branch: rest tells
// that some are left, for inspection to look into.
func verify(f io.ReaderAt, size int64, pageSize int, within time.Duration) (rest bool, err error) {
	m, err := newestMeta(f, pageSize)
	if err != nil {
		return false, err
	}
	if m.pages > uint64(size)/uint64(pageSize) {
		return false, fmt.Errorf("%d bytes are there of %d", size, m.pages*uint64(pageSize))
	}
	v := newVerifier(f, pageSize, m.pages)
	v.until, v.most = time.Now().Add(within), math.MaxInt
	if _, err := v.tree(m.root, nil, nil, 0); err != nil {
		return false, err
	}
	if m.freelist == noFreelist {
		return v.rest, nil
	}
	return v.rest, v.free(m.freelist)
}

// verifySome checks the pages of a bucket whose tree begins at page root, at most so many
// leaves from that of the key from on. It returns the key to go on from; nil: there is
// nothing left. The pages must stay as they are meanwhile, as they do in a transaction.
func verifySome(f io.ReaderAt, pageSize int, pages, root uint64, from []byte, most int) (next []byte, err error) {
	v := newVerifier(f, pageSize, pages)
	v.from, v.most = from, most
	_, err = v.tree(root, nil, nil, 1)
	return v.next, err
}

func newVerifier(f io.ReaderAt, pageSize int, pages uint64) *verifier {
	v := &verifier{file: f, pageSize: pageSize, pages: pages, used: make([]uint64, pages/64+1)}
	v.used[0] = 3 // the two meta pages
	return v
}

type meta struct {
	root, freelist, pages, txid uint64
}

// newestMeta returns the newer of the two meta pages that are whole, as bbolt
// chooses it: the other may have been half-written when the power went.
func newestMeta(f io.ReaderAt, pageSize int) (meta, error) {
	var best meta
	found := false
	for i := range int64(2) {
		b := make([]byte, metaBytes)
		if _, err := f.ReadAt(b, i*int64(pageSize)+pageHeader); err != nil {
			continue
		}
		sum := fnv.New64a()
		_, _ = sum.Write(b[:metaChecksum])
		if order.Uint32(b) != boltMagic || order.Uint32(b[4:]) != boltVersion || order.Uint64(b[metaChecksum:]) != sum.Sum64() {
			continue
		}
		m := meta{
			root: order.Uint64(b[16:]), freelist: order.Uint64(b[32:]),
			pages: order.Uint64(b[40:]), txid: order.Uint64(b[48:]),
		}
		if !found || m.txid > best.txid {
			best, found = m, true
		}
	}
	if !found {
		return meta{}, fmt.Errorf("neither meta page is whole")
	}
	return best, nil
}

type verifier struct {
	file     io.ReaderAt
	pageSize int
	pages    uint64   // page numbers lie below it
	used     []uint64 // a bit per page

	until time.Time // no leaves are looked into after it; zero: for ever
	rest  bool      // there were some

	from []byte // keys below it are passed over
	most int    // leaves that are looked into at most
	next []byte // where that ended
}

// late reports whether there is no time left for leaves.
func (v *verifier) late() bool { return !v.until.IsZero() && time.Now().After(v.until) }

// take marks a page, and so many after it, as used.
func (v *verifier) take(id, overflow uint64) error {
	if id < 2 || id >= v.pages {
		return fmt.Errorf("page %d lies outside of the file's %d", id, v.pages)
	}
	if id+overflow >= v.pages {
		return fmt.Errorf("page %d goes on beyond the end of the file", id)
	}
	for i := id; i <= id+overflow; i++ {
		if v.used[i/64]&(1<<(i%64)) != 0 {
			return fmt.Errorf("page %d is used twice", i)
		}
		v.used[i/64] |= 1 << (i % 64)
	}
	return nil
}

// page is one page, with what follows it if it is larger than one.
type page struct {
	id    uint64
	flags uint16
	count int
	data  []byte // from the header on
}

// read takes a page up, marks it used and reads it, only its header if brief.
func (v *verifier) read(id uint64, brief func(flags uint16) bool) (page, error) {
	if id < 2 || id >= v.pages {
		return page{}, fmt.Errorf("page %d lies outside of the file's %d", id, v.pages)
	}
	head := make([]byte, pageHeader)
	if _, err := v.file.ReadAt(head, int64(id)*int64(v.pageSize)); err != nil {
		return page{}, fmt.Errorf("reading page %d: %w", id, err)
	}
	p := page{id: order.Uint64(head), flags: order.Uint16(head[8:]), count: int(order.Uint16(head[10:])), data: head}
	overflow := uint64(order.Uint32(head[12:]))
	if p.id != id {
		return page{}, fmt.Errorf("page %d says that it is page %d", id, p.id)
	}
	if err := v.take(id, overflow); err != nil {
		return page{}, err
	}
	if brief(p.flags) {
		return p, nil
	}
	p.data = make([]byte, (overflow+1)*uint64(v.pageSize))
	if _, err := v.file.ReadAt(p.data, int64(id)*int64(v.pageSize)); err != nil {
		return page{}, fmt.Errorf("reading page %d: %w", id, err)
	}
	return p, nil
}

// tree checks the pages from id down, and tells whether that is a leaf. All keys lie from
// low on and, unless high is nil, below high.
func (v *verifier) tree(id uint64, low, high []byte, depth int) (leaf bool, err error) {
	if depth > maxDepth {
		return false, fmt.Errorf("page %d lies %d deep", id, depth)
	}
	p, err := v.read(id, func(flags uint16) bool { return flags == flagLeaf && depth > 1 && v.late() })
	if err != nil {
		return false, err
	}
	switch {
	case p.flags == flagBranch && p.count > 0:
		return false, v.branch(p, low, high, depth)
	case p.flags == flagLeaf && len(p.data) == pageHeader:
		v.rest = true
		return true, nil
	case p.flags == flagLeaf:
		v.most--
		return true, v.leaf(p, low, high, depth)
	}
	return false, fmt.Errorf("page %d is neither branch nor leaf (flags %#x, %d elements)", id, p.flags, p.count)
}

func (v *verifier) branch(p page, low, high []byte, depth int) error {
	keys := make([][]byte, p.count+1)
	children := make([]uint64, p.count)
	for i := range p.count {
		at := pageHeader + i*pageElement
		if at+pageElement > len(p.data) {
			return fmt.Errorf("page %d has no room for %d elements", p.id, p.count)
		}
		e := p.data[at:]
		key, err := p.slice(at, order.Uint32(e), order.Uint32(e[4:]))
		if err != nil {
			return err
		}
		if err := p.ordered(i, key, keys[max(i-1, 0)], low, high); err != nil {
			return err
		}
		keys[i], children[i] = key, order.Uint64(e[8:])
	}
	keys[p.count] = high
	leaves := false // what is below: all the same
	for i, child := range children {
		switch below := keys[i+1]; {
		case v.from != nil && below != nil && bytes.Compare(below, v.from) <= 0:
			continue
		case v.next != nil:
			return nil
		case v.most <= 0:
			v.next = bytes.Clone(keys[i])
			return nil
		case leaves && v.late():
			v.rest = true
			if err := v.take(child, 0); err != nil {
				return err
			}
			continue
		}
		var err error
		if leaves, err = v.tree(child, keys[i], keys[i+1], depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) leaf(p page, low, high []byte, depth int) error {
	var before []byte
	for i := range p.count {
		at := pageHeader + i*pageElement
		if at+pageElement > len(p.data) {
			return fmt.Errorf("page %d has no room for %d elements", p.id, p.count)
		}
		e := p.data[at:]
		flags, pos, ksize, vsize := order.Uint32(e), order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		key, err := p.slice(at, pos, ksize)
		if err != nil {
			return err
		}
		value, err := p.slice(at, pos+ksize, vsize)
		if err != nil {
			return err
		}
		if err := p.ordered(i, key, before, low, high); err != nil {
			return err
		}
		before = key
		if flags&elementBucket != 0 {
			if err := v.bucket(p, value, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

// bucket checks the value that stands for a bucket: its root page, or the
// bucket itself as a small leaf.
func (v *verifier) bucket(p page, value []byte, depth int) error {
	if len(value) < bucketHeader {
		return fmt.Errorf("page %d holds a bucket of %d bytes", p.id, len(value))
	}
	root := order.Uint64(value)
	if root != 0 {
		_, err := v.tree(root, nil, nil, depth+1)
		return err
	}
	inline := page{id: p.id, data: value[bucketHeader:]}
	if len(inline.data) < pageHeader {
		return fmt.Errorf("page %d holds a bucket without a page", p.id)
	}
	inline.flags, inline.count = order.Uint16(inline.data[8:]), int(order.Uint16(inline.data[10:]))
	if inline.flags != flagLeaf {
		return fmt.Errorf("page %d holds a bucket that is no leaf (flags %#x)", p.id, inline.flags)
	}
	return v.leaf(inline, nil, nil, depth+1)
}

// free checks the list of free pages: it may name none that is in use.
func (v *verifier) free(id uint64) error {
	p, err := v.read(id, func(flags uint16) bool { return flags != flagFreelist })
	if err != nil {
		return err
	}
	if p.flags != flagFreelist {
		return fmt.Errorf("page %d is no list of free pages (flags %#x)", id, p.flags)
	}
	ids, n := p.data[pageHeader:], uint64(p.count)
	if n == 0xFFFF { // too many for the header: the first entry tells
		n, ids = order.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return fmt.Errorf("page %d has no room for %d free pages", id, n)
	}
	for i := range n {
		free := order.Uint64(ids[8*i:])
		if free < 2 || free >= v.pages || v.used[free/64]&(1<<(free%64)) != 0 {
			return fmt.Errorf("page %d is listed as free, but in use or outside of the file", free)
		}
		v.used[free/64] |= 1 << (free % 64)
	}
	return nil
}

// slice returns n bytes from offset pos of the element at at.
func (p *page) slice(at int, pos, n uint32) ([]byte, error) {
	from := uint64(at) + uint64(pos)
	if to := from + uint64(n); to > uint64(len(p.data)) {
		return nil, fmt.Errorf("page %d has an element that ends at %d of %d bytes", p.id, to, len(p.data))
	}
	return p.data[from : from+uint64(n)], nil
}

func (p *page) ordered(i int, key, before, low, high []byte) error {
	if i > 0 && bytes.Compare(before, key) >= 0 || i == 0 && bytes.Compare(key, low) < 0 ||
		high != nil && bytes.Compare(key, high) >= 0 {
		return fmt.Errorf("page %d has key %.60q out of order", p.id, key)
	}
	return nil
}
