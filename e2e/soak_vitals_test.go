package e2e

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"testing"
	"time"
)

// vitals are what a process that leaks has more and more of.
type vitals struct {
	goroutines int
	heap       int // live, in bytes
}

func (v vitals) String() string {
	return fmt.Sprintf("%d goroutines, %d KiB of live heap", v.goroutines, v.heap>>10)
}

const (
	// The history of changes in memory has a bound of 64 MiB. It is full after so many
	// changes of so many records with so long an annotation, whatever was in it before.
	ballastRecords = 4
	ballastChanges = 80
	ballastBytes   = 150 << 10
	// vitalSamples are taken, of which the least counts: orders and looks come and go.
	vitalSamples = 20
)

// vitals takes stock while nobody asks for anything.
func (s *soak) vitals(t *testing.T) vitals {
	t.Helper()
	var filling sync.WaitGroup
	for i := range ballastRecords {
		filling.Go(func() {
			if err := s.ballast(t.Context(), fmt.Sprintf("ballast%d%s", i, churnDomain)); err != nil {
				t.Error(err)
			}
		})
	}
	filling.Wait()
	http.DefaultClient.CloseIdleConnections()
	least := vitals{1 << 30, 1 << 60}
	for range vitalSamples {
		now, err := takeVitals(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		least = vitals{min(least.goroutines, now.goroutines), min(least.heap, now.heap)}
		time.Sleep(250 * time.Millisecond) // what is under way comes to its end meanwhile
	}
	return least
}

// ballast makes a record, changes it often and deletes it.
func (s *soak) ballast(ctx context.Context, name string) error {
	if err := s.churn.insist(ctx, http.MethodPost, name, manifest(name, false)); err != nil {
		return err
	}
	noise := make([]byte, ballastBytes)
	for range ballastChanges {
		_, _ = rand.Read(noise) // never fails
		body := fmt.Appendf(nil, `{"metadata":{"annotations":{"ballast":%q}}}`, base64.StdEncoding.EncodeToString(noise))
		if err := s.churn.w.insist(ctx, "patching "+name, http.MethodPatch, recordsPath+"/"+name, "application/merge-patch+json", body, 0); err != nil {
			return err
		}
	}
	return s.churn.insist(ctx, http.MethodDelete, name, nil)
}

var (
	goroutinesMetric = regexp.MustCompile(`(?m)^go_goroutines (\S+)$`)
	heapMetric       = regexp.MustCompile(`(?m)^go_memstats_heap_alloc_bytes (\S+)$`)
)

// takeVitals reads the process's metrics right after a garbage collection.
func takeVitals(ctx context.Context) (vitals, error) {
	if _, err := visit(ctx, http.DefaultClient, adminURL+"/debug/pprof/heap?gc=1"); err != nil {
		return vitals{}, err
	}
	text, err := visit(ctx, http.DefaultClient, adminURL+"/metrics")
	if err != nil {
		return vitals{}, err
	}
	value := func(metric *regexp.Regexp) int {
		m := metric.FindStringSubmatch(text)
		if m == nil {
			err = fmt.Errorf("the metrics have no %v", metric)
			return 0
		}
		number, parseErr := strconv.ParseFloat(m[1], 64)
		if parseErr != nil {
			err = parseErr
		}
		return int(number)
	}
	v := vitals{value(goroutinesMetric), value(heapMetric)}
	return v, err
}
