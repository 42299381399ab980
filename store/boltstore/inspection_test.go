package boltstore_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// leaves are the offsets of the leaf pages of a file that are in use: those that a look
// from the newer meta page comes to.
func leaves(b []byte) (at []int) {
	newest := 0
	if binary.NativeEndian.Uint64(b[4096+16+48:]) > binary.NativeEndian.Uint64(b[16+48:]) {
		newest = 4096
	}
	var below func(page uint64)
	below = func(page uint64) {
		p := b[4096*page:]
		for i := range int(binary.NativeEndian.Uint16(p[10:])) {
			e := p[16+16*i:]
			switch {
			case p[8] == 1:
				below(binary.NativeEndian.Uint64(e[8:]))
			case binary.NativeEndian.Uint32(e) == 1: // a bucket
				value := e[binary.NativeEndian.Uint32(e[4:])+binary.NativeEndian.Uint32(e[8:]):]
				if root := binary.NativeEndian.Uint64(value); root != 0 {
					below(root)
				}
			case i == 0:
				at = append(at, int(4096*page))
			}
		}
	}
	below(binary.NativeEndian.Uint64(b[newest+16+16:]))
	return at
}

func TestWhatIsNotLookedAtWhenOpeningIsLookedAtBesideServing(t *testing.T) {
	whole := filepath.Join(t.TempDir(), "whole.db")
	ours(t, whole, 20000)
	s := openAt(t, whole, boltstore.Hasty())
	mustWrite(t, s, set("b", "while it is looked at"))
	s.Inspected()
	mustWrite(t, s, set("b", "afterwards"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	original, err := os.ReadFile(whole)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "apoxy.db")
	late := 0
	for round := range 12 {
		write(t, path, original)
		damage(t, path, func(b []byte) {
			all := leaves(b)
			if len(all) < 300 {
				t.Fatalf("%d leaves", len(all))
			}
			leaf := b[all[round*len(all)/24+5]:] // of the entries, which come before the history
			switch round % 3 {
			case 0: // its number
				leaf[0]++
			case 1: // its first key lies beyond it
				binary.NativeEndian.PutUint32(leaf[16+4:], 1<<20)
			case 2: // what it is
				leaf[8] = 1
			}
		})
		core, logs := observer.New(zap.ErrorLevel)
		o := boltstore.Hasty()
		o.Logger = zap.New(core)
		s, err := boltstore.Open(path, o)
		if err != nil {
			if !errors.Is(err, boltstore.ErrCorrupt) {
				t.Errorf("round %d: %v", round, err)
			}
			continue
		}
		late++
		s.Inspected()
		if _, err := s.Write(t.Context(), set("b", "2")); !errors.Is(err, boltstore.ErrCorrupt) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("round %d: writing to a damaged file: %v", round, err)
		}
		if logs.Len() != 1 || !strings.Contains(logs.All()[0].Message, "damaged") {
			t.Errorf("round %d: logged %v", round, logs.All())
		}
		if _, _, err := s.Get(t.Context(), "b"); err != nil && !errors.Is(err, store.ErrNotFound) && !errors.Is(err, boltstore.ErrCorrupt) {
			t.Errorf("round %d: reading what is whole: %v", round, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if late < 10 { // not all: of each branch one is looked into
		t.Errorf("of 12 damaged leaves %d were found beside serving", late)
	}
}
