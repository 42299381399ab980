package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// crashFile names the store that the test binary, started again as a child,
// writes to until it is killed.
const crashFile = "BOLTSTORE_CRASH_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(shrinkFile); path != "" {
		writeAndShrink(path)
	}
	if path := os.Getenv(crashFile); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

// writeUntilKilled writes from several goroutines and prints "KEY REVISION"
// only once the write was acknowledged.
func writeUntilKilled(path string) {
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	writeOn(s, 8)
	select {}
}

// writeOn goes on writing from so many goroutines, and prints "KEY REVISION" once a write
// was acknowledged. The channel is closed after the first.
func writeOn(s *boltstore.Store, writers int) <-chan struct{} {
	var mu sync.Mutex
	acknowledged := make(chan struct{})
	first := sync.OnceFunc(func() { close(acknowledged) })
	for w := range writers {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("%d/%d/%06d", os.Getpid(), w, i)
				rev, err := s.Write(context.Background(), store.Op{Key: key, Value: []byte(strings.Repeat(key, 50)), If: store.Absent})
				if err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println(key, rev)
				mu.Unlock()
				first()
			}
		}()
	}
	return acknowledged
}

func TestEveryAcknowledgedWriteSurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	acked := map[string]int64{}
	for round := range 4 {
		last := runAndKill(t, path, 50+200*round, acked)
		s := openAt(t, path, boltstore.Options{})
		for key, rev := range acked {
			e, _, err := s.Get(t.Context(), key)
			if err != nil || e.Revision != rev || string(e.Value) != strings.Repeat(key, 50) {
				t.Errorf("round %d: %s acknowledged at %d reads %d, %v", round, key, rev, e.Revision, err)
			}
		}
		if rev, err := s.Write(t.Context(), store.Op{Key: "after", Value: []byte("1"), If: store.Any}); err != nil || rev <= last {
			t.Errorf("round %d: writing on gives revision %d after %d, %v", round, rev, last, err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// runAndKill starts a child on path, kills it once it has acknowledged at least
// n writes and adds all that it acknowledged to acked. It returns the highest
// revision among them.
func runAndKill(t *testing.T, path string, n int, acked map[string]int64) int64 {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), crashFile+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	last, count := int64(0), 0
	lines := bufio.NewScanner(out)
	for lines.Scan() { // whole lines: the kernel does not split them
		key, number, _ := strings.Cut(lines.Text(), " ")
		rev, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			t.Fatalf("the child printed %q", lines.Text())
		}
		acked[key] = rev
		last = max(last, rev)
		if count++; count == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	var exit *exec.ExitError
	if err := child.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Fatalf("the child ended by itself: %v", err)
	}
	if count < n {
		t.Fatalf("the child acknowledged %d writes, want at least %d", count, n)
	}
	return last
}

// TestHistorySurvivesKill watches from the first revision across kills: what
// was acknowledged is there, each revision once, and nothing else but what the
// child may have written without getting to say so.
func TestHistorySurvivesKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	acked := map[string]int64{}
	o := boltstore.Options{History: 1 << 17, HistoryBytes: 1 << 30}
	seen := store.FirstRevision
	for round := range 4 {
		last := runAndKill(t, path, 100+200*round, acked)
		s := openAt(t, path, o)
		for _, begin := range []int64{store.FirstRevision, seen} {
			seen = begin
			got := map[string]int64{}
			w, err := s.Watch(t.Context(), "", begin)
			if err != nil {
				t.Fatalf("round %d: watching from revision %d: %v", round, begin, err)
			}
			for seen < last {
				b, err := w.Next(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, e := range b.Events {
					if e.Revision != seen+1 || e.PreviousRevision != 0 || string(e.Value) != strings.Repeat(e.Key, 50) {
						t.Fatalf("round %d: after revision %d comes %s at %d, which was at %d", round, seen, e.Key, e.Revision, e.PreviousRevision)
					}
					seen = e.Revision
					got[e.Key] = e.Revision
				}
			}
			w.Close()
			for key, rev := range acked {
				if rev > begin && got[key] != rev {
					t.Errorf("round %d: %s acknowledged at %d was seen at %d", round, key, rev, got[key])
				}
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
