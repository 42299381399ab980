package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"
)

var errGone = errors.New("the history has gone")

// watched is as much of a record as a follower looks at.
type watched struct {
	Metadata struct {
		Name            string            `json:"name"`
		ResourceVersion string            `json:"resourceVersion"`
		Annotations     map[string]string `json:"annotations"`
	} `json:"metadata"`
}

func (w watched) sighting(deleted bool) sighting {
	return sighting{w.Metadata.Name, w.Metadata.Annotations[stepAnnotation], w.Metadata.ResourceVersion, deleted}
}

// follower is a watch by hand: it resumes from the last revision it has seen
// and lists only when told that the history has gone.
type follower struct {
	client   *http.Client
	ledger   *ledger
	revision string
}

// follow runs a follower until ctx ends.
func follow(t *testing.T, ctx context.Context, l *ledger, c *connections) {
	f := &follower{client: &http.Client{Transport: c.transport(&http.Transport{DialContext: c.dial})}, ledger: l}
	if err := f.list(ctx); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	t.Cleanup(func() { cancel(); <-ended })
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			err := f.watch(ctx)
			if err == errGone {
				l.begunAnew()
				for f.list(ctx) != nil && ctx.Err() == nil {
					pause(ctx)
				}
			} else if err != nil {
				pause(ctx)
			}
		}
	}()
}

func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
}

func (f *follower) get(ctx context.Context, query url.Values) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, adminURL+recordsPath+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	answer, err := f.client.Do(req)
	if err == nil && answer.StatusCode != http.StatusOK {
		answer.Body.Close()
		if answer.StatusCode == http.StatusGone {
			return nil, errGone
		}
		return nil, fmt.Errorf("status %d", answer.StatusCode)
	}
	return answer, err
}

// list reads everything in pages and goes on from there.
func (f *follower) list(ctx context.Context) error {
	present := map[string]bool{}
	query := url.Values{"limit": {"300"}}
	for {
		answer, err := f.get(ctx, query)
		if err != nil {
			return err
		}
		var page struct {
			Metadata struct{ ResourceVersion, Continue string }
			Items    []watched
		}
		err = json.NewDecoder(answer.Body).Decode(&page)
		answer.Body.Close()
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			present[item.Metadata.Name] = true
			f.ledger.relist(item.sighting(false))
		}
		if f.revision = page.Metadata.ResourceVersion; page.Metadata.Continue == "" {
			break
		}
		query.Set("continue", page.Metadata.Continue)
	}
	for _, name := range f.ledger.known() {
		if !present[name] {
			f.ledger.missing(name)
		}
	}
	return nil
}

// watch follows from the last revision until the stream ends.
func (f *follower) watch(ctx context.Context) error {
	answer, err := f.get(ctx, url.Values{"watch": {"true"}, "allowWatchBookmarks": {"true"}, "resourceVersion": {f.revision}})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	events := json.NewDecoder(answer.Body)
	for {
		var event struct {
			Type   string
			Object struct {
				watched
				Code int
			}
		}
		if err := events.Decode(&event); err != nil {
			return nil // the connection broke or the server ended the watch: resume
		}
		switch event.Type {
		case "ERROR":
			if event.Object.Code == http.StatusGone {
				return errGone
			}
			return fmt.Errorf("an ERROR event with status %d", event.Object.Code)
		case "BOOKMARK":
		default:
			f.ledger.see(event.Object.sighting(event.Type == "DELETED"))
		}
		f.revision = event.Object.Metadata.ResourceVersion
	}
}
