package boltstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

func TestShrinkChangesNothingButTheSize(t *testing.T) {
	path, from, upto := roomy(t)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	want := told(t, path, upto-20)
	s := openAt(t, path, boltstore.Options{})
	w, err := s.Watch(t.Context(), "", upto)
	if err != nil {
		t.Fatal(err)
	}
	before, after, err := s.Shrink(t.Context())
	info, statErr := os.Stat(path)
	if err != nil || statErr != nil || after > before/4 || info.Size() != after || info.Mode().Perm() != 0o640 {
		t.Fatalf("from %d to %d bytes, %v, %v", before, after, info, err)
	}
	nothingBeside(t, path)
	if is, err := s.Stat(); err != nil || !os.SameFile(is, info) {
		t.Errorf("it is not in the file of that name: %v", err)
	}
	// It is the same store for who has it open: it is written to, read, watched and locked.
	if rev := mustWrite(t, s, set("more", "x")); rev != upto+1 {
		t.Errorf("it goes on at revision %d after %d", rev, upto)
	}
	if b, err := w.Next(t.Context()); err != nil || len(b.Events) != 1 || b.Events[0].Key != "more" {
		t.Errorf("a watch from before: %+v, %v", b, err)
	}
	if _, err := boltstore.Open(path, boltstore.Options{LockTimeout: 10 * time.Millisecond}); !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	if rev := mustWrite(t, s, store.Op{Key: "more", If: store.Any}); rev != upto+2 {
		t.Errorf("revision %d", rev)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	got := strings.ReplaceAll(told(t, path, upto-20), fmt.Sprint("Revision:", upto+2), fmt.Sprint("Revision:", upto))
	if a, _, _ := strings.Cut(got, "\n"); !strings.HasPrefix(want, a) {
		t.Errorf("it tells\n%.2000s\nand told\n%.2000s", got, want)
	}
	r := openAt(t, path, boltstore.Options{ReadOnly: true})
	if _, err := r.Watch(t.Context(), "", from); !errors.Is(err, store.ErrExpired) {
		t.Errorf("what the history did not hold: %v", err)
	}
	if err := r.Check(t.Context(), func(what string) error { return errors.New(what) }); err != nil {
		t.Error(err)
	}
}

// TestShrinkBesideWritersAndReaders compacts again and again while keys are created, changed
// and deleted, listed and watched: every reader sees what every writer was told.
func TestShrinkBesideWritersAndReaders(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	s := openAt(t, path, boltstore.Options{})
	var last [4]sync.Map // of each writer: key → revision, 0: deleted
	var stop atomic.Bool
	var wg sync.WaitGroup
	began, err := s.Watch(t.Context(), "", mustWrite(t, s, set("begin", "")))
	if err != nil {
		t.Fatal(err)
	}
	for w := range last {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(3, uint64(w)))
			for i := 0; !stop.Load(); i++ {
				key := fmt.Sprintf("w%d/%03d", w, random.IntN(400))
				op := set(key, strings.Repeat(fmt.Sprint(i, " "), random.IntN(300)))
				if random.IntN(4) == 0 {
					op.Value = nil
				}
				rev, err := s.Write(t.Context(), op)
				if err != nil {
					t.Error(err)
					return
				}
				if op.Value == nil {
					rev = 0
				}
				last[w].Store(key, rev)
				if kv, _, err := s.Get(t.Context(), key); rev > 0 && (err != nil || kv.Revision != rev) || rev == 0 && !errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s written at %d is at %d, %v", key, rev, kv.Revision, err)
				}
			}
		})
	}
	var seen int64
	wg.Go(func() {
		for !stop.Load() {
			b, err := began.Next(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range b.Events {
				if e.Revision != seen+1 && seen != 0 {
					t.Errorf("after revision %d comes %d", seen, e.Revision)
				}
				seen = e.Revision
			}
		}
	})
	for range 8 {
		if _, _, err := s.Shrink(t.Context()); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	mustWrite(t, s, set("end", ""))
	wg.Wait()
	compare := func() {
		for w := range last {
			last[w].Range(func(key, rev any) bool {
				kv, _, err := s.Get(t.Context(), key.(string))
				if rev.(int64) != kv.Revision || (rev.(int64) == 0) != errors.Is(err, store.ErrNotFound) {
					t.Errorf("%s written at %d is at %d, %v", key, rev, kv.Revision, err)
				}
				return true
			})
		}
	}
	compare()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = openAt(t, path, boltstore.Options{})
	compare()
	nothingBeside(t, path)
}

func TestShrinkIsRefusedOrBrokenOff(t *testing.T) {
	path, _, upto := roomy(t)
	want := told(t, path, upto-20)
	r := openAt(t, path, boltstore.Options{ReadOnly: true})
	if _, _, err := r.Shrink(t.Context()); !errors.Is(err, boltstore.ErrReadOnly) {
		t.Errorf("opened for reading: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	s := openAt(t, path, boltstore.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.Shrink(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	nothingBeside(t, path)
	other := path + ".moved"
	if err := os.Rename(path, other); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Shrink(t.Context()); err == nil {
		t.Error("a file that was moved was compacted")
	}
	if err := os.Rename(other, path); err != nil {
		t.Fatal(err)
	}
	var closed sync.WaitGroup
	boltstore.AtStep(func(step string) {
		switch step {
		case "begun":
			if _, _, err := s.Shrink(t.Context()); !errors.Is(err, boltstore.ErrCompacting) {
				t.Errorf("twice at once: %v", err)
			}
		case "copied":
			closed.Go(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			for { // until it is closing
				if _, err := s.Write(t.Context(), set("late", "1")); errors.Is(err, store.ErrClosed) {
					return
				}
			}
		}
	})
	defer boltstore.AtStep(func(string) {})
	if _, _, err := s.Shrink(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("closed meanwhile: %v", err)
	}
	closed.Wait()
	nothingBeside(t, path)
	s = openAt(t, path, boltstore.Options{})
	if _, err := s.Write(t.Context(), store.Op{Key: "late", If: store.Any}); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := told(t, path, upto-20); got[:1000] != want[:1000] {
		t.Errorf("it tells\n%.2000s\nand told\n%.2000s", got, want)
	}
}

func TestAFileThatIsMostlyFreeIsCompactedByItself(t *testing.T) {
	for _, c := range []struct {
		free, pages uint64
		want        bool
	}{
		{16 << 10, 20 << 10, false}, {16<<10 + 1, 20 << 10, true}, {500_000, 1_000_001, false}, {500_001, 1_000_001, true}, {0, 4, false}, {4, 4, false},
	} {
		if got := boltstore.IsDue(c.free, c.pages, 4096); got != c.want {
			t.Errorf("%d of %d pages are free: %v", c.free, c.pages, got)
		}
	}
	path := filepath.Join(t.TempDir(), "apoxy.db")
	s := openAt(t, path, boltstore.CompactsEvery(5*time.Millisecond))
	noise := make([]byte, 1<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(noise) // it cannot fail
	for i := range 80 {
		mustWrite(t, s, store.Op{Key: fmt.Sprint("k", i), Value: noise, If: store.Any})
	}
	for i := range 79 {
		mustWrite(t, s, store.Op{Key: fmt.Sprint("k", i), If: store.Any})
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		mustWrite(t, s, set("tick", "1")) // what became free is counted with the next write
		info, err := os.Stat(path)
		if err == nil && info.Size() < 90<<20 && info.Size() > 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("it has %d bytes, %v", info.Size(), err)
		}
	}
	if kv, _, err := s.Get(t.Context(), "k79"); err != nil || len(kv.Value) != 1<<20 {
		t.Errorf("%d bytes, %v", len(kv.Value), err)
	}
}

// shrinkFile names the store that the test binary, started again as a child, writes to and
// compacts until it kills itself at a step, shrinkStep.
const (
	shrinkFile = "BOLTSTORE_SHRINK_FILE"
	shrinkStep = "BOLTSTORE_SHRINK_STEP"
)

// writeAndShrink writes as writeUntilKilled does, and compacts.
func writeAndShrink(path string) {
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	boltstore.AtStep(func(step string) {
		if step == os.Getenv(shrinkStep) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	<-writeOn(s, 4)
	_, _, err = s.Shrink(context.Background())
	fmt.Fprintln(os.Stderr, "not killed", err)
	os.Exit(1)
}

func TestEveryAcknowledgedWriteSurvivesKillWhileCompacting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	ours(t, path, 3000)
	acked := map[string]int64{}
	for _, step := range []string{"begun", "copied", "caught", "final", "renamed", "swapped"} {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), shrinkFile+"="+path, shrinkStep+"="+step)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		n := 0
		for lines := bufio.NewScanner(out); lines.Scan(); n++ {
			key, number, _ := strings.Cut(lines.Text(), " ")
			if acked[key], err = strconv.ParseInt(number, 10, 64); err != nil {
				t.Fatalf("the child printed %q", lines.Text())
			}
		}
		var exit *exec.ExitError
		if err := child.Wait(); !errors.As(err, &exit) || exit.Exited() || n == 0 {
			t.Fatalf("%s: after %d writes the child ended by itself: %v", step, n, err)
		}
		s := openAt(t, path, boltstore.Options{})
		nothingBeside(t, path)
		for key, rev := range acked {
			e, _, err := s.Get(t.Context(), key)
			if err != nil || e.Revision != rev || string(e.Value) != strings.Repeat(key, 50) {
				t.Errorf("%s: %s acknowledged at %d reads %d, %v", step, key, rev, e.Revision, err)
			}
		}
		if res, err := s.List(t.Context(), "a/", store.ListOptions{}); err != nil || len(res.KeyValues) != 3000 {
			t.Errorf("%s: of what was there before %d are left, %v", step, len(res.KeyValues), err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		r := openAt(t, path, boltstore.Options{ReadOnly: true})
		if err := r.Check(t.Context(), func(what string) error { return errors.New(what) }); err != nil {
			t.Errorf("%s: %v", step, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
