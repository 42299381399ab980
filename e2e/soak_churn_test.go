package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	// churners create, change and delete records, so many names each.
	churners    = 4
	churnNames  = 25
	churnDomain = ".soakchurn.com"
)

// churn is what the product has acknowledged of records that come and go.
type churn struct {
	w      *writers
	writes *atomic.Int64

	mu *sync.Mutex
	// steps by the names of the records that must be there: the last one acknowledged.
	steps map[string]string
}

func newChurn() churn {
	return churn{
		w: &writers{client: http.DefaultClient}, writes: new(atomic.Int64),
		mu: new(sync.Mutex), steps: map[string]string{},
	}
}

// insist has a record created or deleted, over kills.
func (c *churn) insist(ctx context.Context, method, name string, object any) error {
	path, before := recordsPath, http.StatusConflict
	var body []byte
	if method == http.MethodDelete {
		path, before = recordsPath+"/"+name, http.StatusNotFound
	} else {
		var err error
		if body, err = json.Marshal(object); err != nil {
			return err
		}
	}
	c.writes.Add(1)
	return c.w.insist(ctx, method+" "+name, method, path, "application/json", body, before)
}

// annotated is as much of a record as churn compares.
type annotated struct {
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
}

// step takes one of a churner's records on: to be, to be changed, not to be. What was
// acknowledged before must be there.
func (c *churn) step(ctx context.Context, churner, round int) error {
	name := fmt.Sprintf("c%d-%d%s", churner, round%churnNames, churnDomain)
	if err := c.matches(ctx, name); err != nil {
		return err
	}
	step := fmt.Sprint(round)
	c.mu.Lock()
	old, there := c.steps[name]
	c.mu.Unlock()
	switch {
	case !there:
		object := manifest(name, false)
		object["metadata"].(map[string]any)["annotations"] = map[string]any{stepAnnotation: step}
		if err := c.insist(ctx, http.MethodPost, name, object); err != nil {
			return err
		}
	case !strings.HasSuffix(old, "+"):
		step = old + "+"
		body := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, stepAnnotation, step)
		c.writes.Add(1)
		if err := c.w.insist(ctx, "PATCH "+name, http.MethodPatch, recordsPath+"/"+name, "application/merge-patch+json", body, 0); err != nil {
			return err
		}
	default:
		if err := c.insist(ctx, http.MethodDelete, name, nil); err != nil {
			return err
		}
		step = ""
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.steps, name); step != "" {
		c.steps[name] = step
	}
	return nil
}

// matches compares one record with what was acknowledged.
func (c *churn) matches(ctx context.Context, name string) error {
	c.mu.Lock()
	want, there := c.steps[name]
	c.mu.Unlock()
	var r annotated
	return c.w.until(ctx, "reading "+name, func(status int, body []byte) error {
		switch {
		case !there && status == http.StatusNotFound:
			return nil
		case !there || status != http.StatusOK:
			return fmt.Errorf("status %d: %s; acknowledged was %q", status, body, want)
		}
		if err := json.Unmarshal(body, &r); err != nil {
			return err
		}
		if got := r.Metadata.Annotations[stepAnnotation]; got != want {
			return fmt.Errorf("it stands at %q, and %q was acknowledged", got, want)
		}
		return nil
	}, recordsPath+"/"+name)
}

// compare demands that a list holds exactly what was acknowledged.
func (c *churn) compare(t *testing.T) {
	t.Helper()
	var list struct{ Items []annotated }
	if err := call(t.Context(), http.MethodGet, recordsPath, nil, &list); err != nil {
		t.Fatal(err)
	}
	var errs []error
	found := map[string]bool{}
	for _, r := range list.Items {
		name := r.Metadata.Name
		if !strings.HasSuffix(name, churnDomain) {
			continue
		}
		found[name] = true
		if want, there := c.steps[name]; !there || r.Metadata.Annotations[stepAnnotation] != want {
			errs = append(errs, fmt.Errorf("%s stands at %v, acknowledged was %q", name, r.Metadata.Annotations, want))
		}
	}
	for name, step := range c.steps {
		if !found[name] {
			errs = append(errs, fmt.Errorf("%s, acknowledged at %q, is gone", name, step))
		}
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}
