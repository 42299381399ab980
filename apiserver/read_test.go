package apiserver

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

func TestGet(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", `"name":"a.example.com--ref"`)
	w.call("GET", base+"/a.example.com--ref/status", "").want(200).record()
	if a := w.call("GET", base+"/a.example.com--ref?pretty=true", "").want(200); !strings.Contains(string(a.body), "\n  \"metadata\": {") {
		t.Errorf("not pretty: %s", a.body)
	}
	if a := w.call("GET", base+"/a.example.com--ref", "", "Accept", "text/html,*/*;q=0.8").want(200); a.header.Get("Content-Type") != "application/json" {
		t.Errorf("a browser gets %q", a.header.Get("Content-Type"))
	}
	w.call("GET", base+"/a.example.com--ref?resourceVersion=99999", "").status(504, metav1.StatusReasonTimeout)
	st := w.call("GET", base+"/b", "").status(404, metav1.StatusReasonNotFound)
	if st.Message != `domainrecords.core.apoxy.dev "b" not found` || st.Details.Kind != "domainrecords" {
		t.Errorf("status %+v", st)
	}
	if a := w.call("HEAD", base+"/a.example.com--ref", "").want(200); len(a.body) != 0 {
		t.Errorf("HEAD has a body: %s", a.body)
	}
}

func TestCheck(t *testing.T) {
	t.Run("looks, then answers with the record as it is after", func(t *testing.T) {
		var w *world
		w = newWorld(t, func(c *Config) {
			c.Check = func(_ context.Context, name string) error {
				w.call("PATCH", base+"/"+name+"/status", `{"status":{"phase":"Active"}}`, "Content-Type", mergeHeader).want(200)
				return nil
			}
		})
		w.create("a.example.com")
		if r := w.call("POST", base+"/a.example.com/check", "").want(200).record(); r.Status.Phase != v1alpha3.PhaseActive {
			t.Errorf("phase %s", r.Status.Phase)
		}
		w.call("POST", base+"/b/check", "").status(404, metav1.StatusReasonNotFound)
	})
	t.Run("says what went wrong", func(t *testing.T) {
		w := newWorld(t, func(c *Config) {
			c.Check = func(context.Context, string) error { return errors.New("no way out") }
		})
		w.create("a.example.com")
		if st := w.call("POST", base+"/a.example.com/check", "").status(500, metav1.StatusReasonInternalError); !strings.Contains(st.Message, "no way out") {
			t.Errorf("message %q", st.Message)
		}
	})
	t.Run("is 503 where nobody looks", func(t *testing.T) {
		w := newWorld(t)
		w.create("a.example.com")
		w.call("POST", base+"/a.example.com/check", "").status(503, metav1.StatusReasonServiceUnavailable)
	})
}

func TestNextLookIsShown(t *testing.T) {
	w := newWorld(t, func(c *Config) {
		c.NextLook = func(string) time.Time { return c.Now().Add(42 * time.Second) }
	})
	w.create("a.example.com")
	a := w.call("GET", base, "", "Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").want(200)
	if !strings.Contains(string(a.body), `"42s"`) {
		t.Errorf("table %s", a.body)
	}
}

func TestWithRevision(t *testing.T) {
	deep := strings.Repeat(`{"f:a":`, 1000) + "1" + strings.Repeat("}", 1000)
	for _, tc := range []struct{ name, in, want string }{
		{"into metadata that has others", `{"a":[{"metadata":{}}],"metadata":{"name":"x"}}`, `{"a":[{"metadata":{}}],"metadata":{"resourceVersion":"7","name":"x"}}`},
		{"into metadata that is empty", `{"metadata": { } }`, `{"metadata": {"resourceVersion":"7" } }`},
		{"over one that is there", `{"metadata":{"x":"\"{","resourceVersion":"3","y":-1.5e3},"z":null}`, `{"metadata":{"x":"\"{","resourceVersion":"7","y":-1.5e3},"z":null}`},
		{"not into what only looks alike", `{"x":{"metadata":{"resourceVersion":"1"}},"metadata":{"labels":{"resourceVersion":"2"}}}`, `{"x":{"metadata":{"resourceVersion":"1"}},"metadata":{"resourceVersion":"7","labels":{"resourceVersion":"2"}}}`},
		{"no metadata", `{"a":1}`, ``},
		{"metadata that is no object", `{"metadata":1}`, ``},
		{"cut short", `{"metadata":{"na`, ``},
		{"metadata that is no JSON", `{"metadata":{"name":tru,"x":1}}`, ``},
		{"metadata of many levels", `{"metadata":{"x":` + deep + `}}`, `{"metadata":{"resourceVersion":"7","x":` + deep + `}}`},
		{"no object", `[]`, ``},
		{"nothing", ``, ``},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := withRevision([]byte(tc.in), 7)
			if (err != nil) != (tc.want == "") || string(got) != tc.want {
				t.Errorf("got %s (%v), want %s", got, err, tc.want)
			}
		})
	}
}
