package hosts

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestWait(t *testing.T) {
	verified := func(h *Host) bool { return h != nil && h.Verified }
	t.Run("returns at once when the host is as wanted", func(t *testing.T) {
		table := New()
		table.Set(&Host{Hostname: "a.test", Verified: true})
		if h, err := table.Wait(t.Context(), "a.test", verified); err != nil || !h.Verified {
			t.Fatal(h, err)
		}
	})
	t.Run("wakes on the change that makes it so and on no other name's", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := New()
			asked := 0
			var h *Host
			var err error
			done := make(chan struct{})
			go func() {
				defer close(done)
				h, err = table.Wait(t.Context(), "*.a.test", func(h *Host) bool { asked++; return verified(h) })
			}()
			synctest.Wait()
			table.Set(&Host{Hostname: "b.test", Verified: true})
			table.Set(&Host{Hostname: "a.test", Verified: true})
			synctest.Wait()
			if asked != 2 { // before and after it was put down
				t.Errorf("asked %d times before any change, want 2", asked)
			}
			table.Set(&Host{Hostname: "*.a.test"})
			synctest.Wait()
			table.Set(&Host{Hostname: "*.a.test", Verified: true})
			<-done
			if err != nil || !h.Verified || asked != 4 {
				t.Errorf("got %v, %v after asking %d times", h, err, asked)
			}
			for i := range table.shards {
				if len(table.shards[i].waiters) != 0 {
					t.Error("a waiter was left behind")
				}
			}
		})
	})
	t.Run("wakes on deletion with no host", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := New()
			table.Set(&Host{Hostname: "a.test"})
			done := make(chan error)
			go func() {
				_, err := table.Wait(t.Context(), "a.test", func(h *Host) bool { return h == nil })
				done <- err
			}()
			synctest.Wait()
			table.Delete("a.test")
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("returns the host as it stands when the context ends", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := New()
			table.Set(&Host{Hostname: "a.test", Revision: 7})
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			h, err := table.Wait(ctx, "a.test", verified)
			if !errors.Is(err, context.DeadlineExceeded) || h == nil || h.Revision != 7 {
				t.Errorf("got %v, %v", h, err)
			}
		})
	})
	t.Run("is refused when too many wait", func(t *testing.T) {
		table := New()
		table.waiting.Store(maxWaiters)
		if _, err := table.Wait(t.Context(), "a.test", verified); !errors.Is(err, errTooManyWaiters) {
			t.Errorf("got %v", err)
		}
		if n := table.waiting.Load(); n != maxWaiters {
			t.Errorf("%d waiting afterwards, want %d", n, maxWaiters)
		}
	})
	t.Run("leaves room for others when too many wait for one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := New()
			ctx, cancel := context.WithCancel(t.Context())
			wait := func(hostname string) {
				if _, err := table.Wait(ctx, hostname, verified); !errors.Is(err, context.Canceled) {
					t.Errorf("waiting for %s ended with %v", hostname, err)
				}
			}
			for range maxOfOne {
				go wait("crowded.test")
			}
			synctest.Wait()
			if _, err := table.Wait(ctx, "crowded.test", verified); !errors.Is(err, errTooManyWaiters) {
				t.Errorf("got %v", err)
			}
			go wait("quiet.test")
			synctest.Wait()
			if n := table.waiting.Load(); n != maxOfOne+1 {
				t.Errorf("%d waiting, want %d", n, maxOfOne+1)
			}
			cancel()
			synctest.Wait()
		})
	})
}

func TestWaitFirst(t *testing.T) {
	proven := func(h *Host) bool { return h == nil || h.Verified }
	t.Run("returns on the change that makes it so, and in time without one", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := New()
			table.Set(&Host{Hostname: "a.test", Revision: 7})
			if h, err := table.WaitFirst("a.test", 3*time.Second, proven); !errors.Is(err, context.DeadlineExceeded) || h == nil || h.Revision != 7 {
				t.Errorf("got %v, %v", h, err)
			}
			time.AfterFunc(time.Second, func() { table.Set(&Host{Hostname: "a.test", Verified: true}) })
			began := time.Now()
			if h, err := table.WaitFirst("a.test", 3*time.Second, proven); err != nil || !h.Verified || time.Since(began) != time.Second {
				t.Errorf("got %v, %v after %v", h, err, time.Since(began))
			}
			for i := range table.shards {
				if len(table.shards[i].waiters) != 0 {
					t.Error("a waiter was left behind")
				}
			}
		})
	})
	t.Run("a flood is refused at once, and takes no room from those who Wait", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := New()
			crowded := func(hostname string) error {
				table.Set(&Host{Hostname: hostname})
				_, err := table.WaitFirst(hostname, time.Hour, proven)
				return err
			}
			var waited, refused atomic.Int64
			for i := range maxFirst { // so many for each of so many
				for range 2 * maxFirstOfOne {
					go func() {
						switch err := crowded(fmt.Sprintf("n%d.test", i)); {
						case err == nil || errors.Is(err, context.DeadlineExceeded):
							waited.Add(1)
						case err == errTooManyWaiters:
							refused.Add(1)
						default:
							t.Errorf("got %v", err)
						}
					}()
				}
			}
			synctest.Wait()
			if in, out := table.first.Load(), refused.Load(); in != maxFirst || out != 2*maxFirst*maxFirstOfOne-maxFirst {
				t.Errorf("%d wait, want %d, and %d are refused", in, maxFirst, out)
			}
			for i := range table.shards {
				s := &table.shards[i]
				s.mu.Lock()
				for hostname, w := range s.waiters {
					if len(w.first) > maxFirstOfOne {
						t.Errorf("%d wait for %s", len(w.first), hostname)
					}
				}
				s.mu.Unlock()
			}
			done := make(chan error)
			go func() {
				_, err := table.Wait(t.Context(), "n1.test", proven)
				done <- err
			}()
			synctest.Wait()
			table.Set(&Host{Hostname: "n1.test", Verified: true})
			if err := <-done; err != nil {
				t.Errorf("one who waits for what is on its way got %v", err)
			}
			time.Sleep(2 * time.Hour)
			if n := table.first.Load(); n != 0 || waited.Load() != maxFirst {
				t.Errorf("%d are still counted, %d have waited", n, waited.Load())
			}
		})
	})
	t.Run("one record's crowd leaves room for the others'", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			table := New()
			table.Set(&Host{Hostname: "*.crowded.test"})
			table.Set(&Host{Hostname: "quiet.test"})
			for range maxFirstOfOne {
				go table.WaitFirst("*.crowded.test", time.Hour, proven)
			}
			synctest.Wait()
			if _, err := table.WaitFirst("*.crowded.test", time.Hour, proven); err != errTooManyWaiters {
				t.Errorf("got %v", err)
			}
			if allocs := testing.AllocsPerRun(100, func() { table.WaitFirst("*.crowded.test", time.Hour, proven) }); allocs != 0 {
				t.Errorf("a refusal costs %v allocations", allocs)
			}
			if _, err := table.WaitFirst("quiet.test", time.Second, proven); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			time.Sleep(2 * time.Hour)
		})
	})
}
