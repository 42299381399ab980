package certs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

const recordsPath = "/apis/core.apoxy.dev/v1alpha3/domainrecords"

func (s *served) api(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", s.w.admin, path)
}

// submit creates a record.
func (s *served) submit(host string) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": "core.apoxy.dev/v1alpha3", "kind": "DomainRecord", "metadata": map[string]any{"name": host},
		"spec": map[string]any{"name": host, "tls": map[string]any{},
			"target": map[string]any{"ref": map[string]any{"group": "gateway.apoxy.dev", "kind": "Gateway", "name": "default"}}},
	})
	if err != nil {
		return err
	}
	answer, err := http.Post(s.api(recordsPath), "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusCreated {
		err = fmt.Errorf("creating %s: %d %s", host, answer.StatusCode, text)
	}
	return err
}

func (s *served) create(b *testing.B, i int) {
	b.Helper()
	until(b, 20*time.Second, "the API", func() error { return s.submit(hostname(i, ours)) })
}

// seen is as much of a record as is needed to follow it.
type seen struct {
	Metadata struct{ Name, ResourceVersion string }
	Status   struct {
		Phase      string
		Conditions []struct{ Type, Status, Reason string }
	}
}

func (r *seen) is(kind, status string) bool {
	for _, c := range r.Status.Conditions {
		if c.Type == kind {
			return c.Status == status
		}
	}
	return false
}

func (s *served) await(b *testing.B, i int) {
	b.Helper()
	until(b, 60*time.Second, "a certificate", func() error {
		answer, err := http.Get(s.api(recordsPath + "/" + hostname(i, ours)))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		var r seen
		if err := json.NewDecoder(answer.Body).Decode(&r); err != nil {
			return err
		}
		if !r.is("TLSReady", "True") {
			return fmt.Errorf("%+v: %s", r, s.tail())
		}
		return nil
	})
}

// watch follows all records from now on. The function it returns waits until n
// of them have a certificate and tells how long each took from its delegation
// having been seen, which is what allows it, to TLSReady.
func (s *served) watch(b *testing.B, n int) func() []time.Duration {
	b.Helper()
	answer, err := http.Get(s.api(recordsPath + "?watch=true"))
	if err != nil {
		b.Fatal(err)
	}
	allowed, stored := map[string]time.Time{}, map[string]time.Duration{}
	done := make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		for d := json.NewDecoder(answer.Body); len(stored) < n; {
			var e struct{ Object seen }
			if d.Decode(&e) != nil {
				return
			}
			r, now := &e.Object, time.Now()
			name := r.Metadata.Name
			if _, known := allowed[name]; !known && r.is("TLSReady", "True") {
				continue // from before
			}
			if _, known := allowed[name]; !known && r.is("ACMEChallengeDelegationReady", "True") {
				allowed[name] = now
			}
			if at, known := allowed[name]; known && r.is("TLSReady", "True") && stored[name] == 0 {
				stored[name] = now.Sub(at)
			}
		}
	}()
	return func() []time.Duration {
		select {
		case <-done:
		case <-time.After(90 * time.Second):
		}
		answer.Body.Close()
		<-done
		if len(stored) < n {
			b.Fatalf("%d of %d certificates in %v: %s", len(stored), n, time.Since(began), s.tail())
		}
		var out []time.Duration
		for _, d := range stored {
			out = append(out, d)
		}
		return out
	}
}
