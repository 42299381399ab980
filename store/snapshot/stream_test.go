package snapshot_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/etcdtest"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/snapshot"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

func TestMain(m *testing.M) { etcdtest.Main(m) }

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// openBolt opens a store in a file.
func openBolt(t *testing.T, path string) *boltstore.Store {
	t.Helper()
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func newBolt(t *testing.T) *boltstore.Store {
	t.Helper()
	return openBolt(t, filepath.Join(t.TempDir(), "apoxy.db"))
}

func put(t *testing.T, s store.Store, keysAndValues ...string) {
	t.Helper()
	var ops []store.Op
	for i := 0; i < len(keysAndValues); i += 2 {
		ops = append(ops, store.Op{Key: keysAndValues[i], Value: []byte(keysAndValues[i+1]), If: store.Any})
	}
	if _, err := s.Write(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
}

// write returns the stream of a store.
func write(t *testing.T, s store.Store) []byte {
	t.Helper()
	var out bytes.Buffer
	if _, err := snapshot.Write(t.Context(), &out, s, "a store", now); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// read returns what a stream holds, a line each.
func read(r io.Reader) (string, snapshot.Header, error) {
	d, err := snapshot.NewReader(r)
	if err != nil {
		return "", snapshot.Header{}, err
	}
	defer d.Close()
	var lines []string
	for {
		e, err := d.Next()
		if errors.Is(err, io.EOF) {
			return strings.Join(lines, "\n"), d.Header(), nil
		}
		if err != nil {
			return "", d.Header(), err
		}
		if e.Damaged != "" {
			lines = append(lines, fmt.Sprintf("%s is damaged: %s", e.Key, e.Damaged))
		} else {
			lines = append(lines, fmt.Sprintf("%s=%s", e.Key, e.Value))
		}
	}
}

func TestAStreamHoldsWhatTheStoreDoes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	s := openBolt(t, path)
	put(t, s, "a", "1", "b", "", "c/\x00\xff", "binary\x00", "nodes/n1", "live", "mail/n1/n2", "7", "members/x", "x",
		"storage-locks/l", "n1", "snapshot/filled", "{}", "storage/key", "secret", "d", "spoil this")
	put(t, s, "a", "2")
	storetest.Spoil(t, path, "spoil this")
	text, h, err := read(bytes.NewReader(write(t, s)))
	want := "a=2\nb=\nc/\x00\xff=binary\x00\nd is damaged: its checksum does not hold\nstorage/key=secret"
	if err != nil || text != want {
		t.Errorf("%v\n%q\nwant\n%q", err, text, want)
	}
	if h != (snapshot.Header{Store: "a store", Revision: 3, Time: now}) {
		t.Errorf("header %+v", h)
	}
	if text, h, err := read(bytes.NewReader(write(t, newBolt(t)))); err != nil || text != "" || h.Revision != 1 {
		t.Errorf("an empty store: %v, %q, %+v", err, text, h)
	}
}

func TestWhatWasCutOffOrAlteredIsRefused(t *testing.T) {
	s := newBolt(t)
	for i := range 40 {
		put(t, s, fmt.Sprint("domainrecords/", i), strings.Repeat(fmt.Sprint(i), 30))
	}
	whole := write(t, s)
	broken := func(what string, raw []byte) {
		t.Helper()
		_, _, err := snapshot.Check(t.Context(), bytes.NewReader(raw), nil)
		if !errors.Is(err, snapshot.ErrBroken) || errors.Is(err, io.EOF) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range whole {
		broken(fmt.Sprint("the first bytes ", n), whole[:n])
	}
	for i := range whole {
		raw := bytes.Clone(whole)
		raw[i] ^= 0x10
		_, _, err := snapshot.Check(t.Context(), bytes.NewReader(raw), nil)
		if err == nil {
			// A bit of Zstandard's frame may say nothing of the content, which the checksum covers.
			if text, _, _ := read(bytes.NewReader(raw)); text != mustRead(t, whole) {
				t.Errorf("byte %d of %d is altered, and what is read is another", i, len(whole))
			}
		}
	}
	broken("bytes that follow", append(bytes.Clone(whole), "more"...))
	broken("twice", append(bytes.Clone(whole), whole...))
	broken("another file", []byte("apoxy.db"))
	broken("no version", []byte("apoxy-backup x\n"))
	_, _, err := snapshot.Check(t.Context(), strings.NewReader("apoxy-backup 2\nwho knows"), nil)
	if !errors.Is(err, snapshot.ErrNewer) {
		t.Errorf("a newer version: %v", err)
	}
}

func mustRead(t *testing.T, raw []byte) string {
	t.Helper()
	text, _, err := read(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// failing is a store whose List fails after so many calls.
type failing struct {
	store.Store
	left int
	err  error
}

func (s *failing) List(ctx context.Context, prefix string, o store.ListOptions) (store.ListResult, error) {
	if s.left--; s.left < 0 {
		return store.ListResult{}, s.err
	}
	return s.Store.List(ctx, prefix, o)
}

// A reader is told that the writer could not go on, and whether to try again.
func TestAStoreThatFailsWhileItIsRead(t *testing.T) {
	s := newBolt(t)
	for i := range 100 {
		put(t, s, fmt.Sprint("k", i), "v")
	}
	for left := range 3 {
		for _, why := range []error{store.ErrExpired, errors.New("the disk is gone")} {
			var out bytes.Buffer
			_, err := snapshot.Write(t.Context(), &out, &failing{s, left, why}, "s", now)
			if !errors.Is(err, why) {
				t.Errorf("writing: %v", err)
			}
			_, _, err = snapshot.Check(t.Context(), &out, nil)
			if !errors.Is(err, snapshot.ErrBroken) || errors.Is(err, store.ErrExpired) != errors.Is(why, store.ErrExpired) {
				t.Errorf("reading: %v, after %v", err, why)
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := snapshot.Write(ctx, io.Discard, s, "s", now); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	if _, _, err := snapshot.Check(ctx, bytes.NewReader(write(t, s)), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// What comes in pairs of one Write is never split, however much is written meanwhile.
func TestAStreamIsOfOneRevision(t *testing.T) {
	for name, s := range engines(t) {
		t.Run(name, func(t *testing.T) {
			const pairs = 700
			for i := 0; i < pairs; i += 50 {
				var kv []string
				for j := i; j < i+50; j++ {
					kv = append(kv, fmt.Sprintf("a/%04d", j), "0", fmt.Sprintf("z/%04d", j), "0")
				}
				put(t, s, kv...)
			}
			ctx, stop := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				for n := 1; ; n++ {
					i := n * 31 % pairs
					value := []byte(fmt.Sprint(n))
					ops := []store.Op{{Key: fmt.Sprintf("a/%04d", i), Value: value, If: store.Any}, {Key: fmt.Sprintf("z/%04d", i), Value: value, If: store.Any}}
					if n%7 == 0 {
						ops[0].Value, ops[1].Value = nil, nil
					}
					if _, err := s.Write(ctx, ops...); err != nil {
						done <- err
						return
					}
				}
			}()
			for range 5 {
				text := mustRead(t, write(t, s))
				halves := map[string]string{}
				for line := range strings.Lines(text + "\n") {
					halves[line[:2]] += line[2:]
				}
				if halves["a/"] != halves["z/"] || halves["a/"] == "" {
					t.Error("pairs were split")
				}
			}
			stop()
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		})
	}
}
