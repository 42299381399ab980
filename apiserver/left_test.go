package apiserver

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// leaving is a body whose sender leaves with its last byte.
type leaving struct {
	io.Reader
	leave context.CancelFunc
}

func (l leaving) Read(p []byte) (int, error) {
	n, err := l.Reader.Read(p)
	if err == io.EOF {
		l.leave()
	}
	return n, err
}

// A write whose client has left before it began is abandoned, whenever that was.
func TestAWriteWhoseClientHasLeftIsAbandoned(t *testing.T) {
	w, h := hookedWorld(t)
	r := w.create("a.example.com", `"finalizers":["a/b"]`)
	w.create("b.example.com")
	var asked atomic.Pointer[context.CancelFunc]
	w.s.cfg.Zone = func() string { // what every validation begins with
		if leave := asked.Load(); leave != nil {
			(*leave)()
		}
		return zone
	}
	h.write = func(ops []store.Op) { t.Errorf("written: %s", ops[0].Key) }
	for _, c := range []struct{ is, method, path, typ, body string }{
		{"create", "POST", base, typeJSON, manifest("c.example.com")},
		{"create in YAML", "POST", base, typeYAML, "spec: {name: c.example.com, target: {ref: {kind: Proxy, name: p}}}"},
		{"update", "PUT", base + "/a.example.com", typeJSON, strings.Replace(manifest("a.example.com", `"resourceVersion":"`+r.ResourceVersion+`"`), `"tls":{}`, `"ttl":1`, 1)},
		{"status", "PUT", base + "/a.example.com/status", typeJSON, manifest("a.example.com", `"resourceVersion":"`+r.ResourceVersion+`"`)},
		{"merge patch", "PATCH", base + "/a.example.com", typeMerge, `{"spec":{"ttl":1}}`},
		{"JSON patch", "PATCH", base + "/a.example.com", typeJSONP, `[{"op":"add","path":"/spec/ttl","value":1}]`},
		{"apply", "PATCH", base + "/a.example.com?fieldManager=x", typeApply, `{"spec":{"ttl":1}}`},
		{"apply of a new record", "PATCH", base + "/c?fieldManager=x", typeApply, `{"spec":{"name":"c.example.com","target":{"ref":{"kind":"Proxy","name":"p"}}}}`},
		{"delete", "DELETE", base + "/b.example.com", typeJSON, `{}`},
		{"delete that waits for finalizers", "DELETE", base + "/a.example.com", typeJSON, `{}`},
	} {
		send := func(ctx context.Context, body io.Reader) *httptest.ResponseRecorder {
			req := httptest.NewRequestWithContext(ctx, c.method, c.path, body)
			req.Header.Set("Content-Type", c.typ)
			rec := httptest.NewRecorder()
			w.s.ServeHTTP(rec, req)
			return rec
		}
		t.Run(c.is+", left with the last byte", func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			if rec := send(ctx, leaving{strings.NewReader(c.body), leave}); rec.Body.Len() > 0 {
				t.Errorf("answered %s", rec.Body)
			}
		})
		t.Run(c.is+", left during validation", func(t *testing.T) {
			if strings.Contains(c.is, "delete") || c.is == "status" {
				return // these ask for no zone
			}
			ctx, leave := context.WithCancel(t.Context())
			asked.Store(&leave)
			defer asked.Store(nil)
			if rec := send(ctx, strings.NewReader(c.body)); rec.Body.Len() > 0 || ctx.Err() == nil {
				t.Errorf("answered %s; left: %v", rec.Body, ctx.Err())
			}
		})
	}
}

// A client that stops in the middle of its body is told so and cut off.
func TestABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.BodyRead = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", w.http.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST "+base+" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	answered, err := io.ReadAll(conn) // the server closes
	if err != nil {
		t.Fatal(err)
	}
	if s := string(answered); !strings.HasPrefix(s, "HTTP/1.1 408 ") || !strings.Contains(s, string(metav1.StatusReasonTimeout)) || !strings.Contains(s, "not there within 50ms") {
		t.Errorf("answered %s", s)
	}
	// A body that comes in time leaves no deadline behind.
	w.create("a.example.com")
}

func TestSelectorsAreBounded(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com")
	for _, tc := range []struct {
		is, query string
		code      int
	}{
		{"100 labels", "labelSelector=" + strings.TrimSuffix(strings.Repeat("!a,", 100), ","), http.StatusOK},
		{"101 labels", "labelSelector=" + strings.TrimSuffix(strings.Repeat("!a,", 101), ","), http.StatusBadRequest},
		{"101 fields", "fieldSelector=" + strings.TrimSuffix(strings.Repeat("spec.name!=a,", 101), ","), http.StatusBadRequest},
		{"a long one", "labelSelector=a+in+(" + strings.Repeat("b,", 17<<10) + "c)", http.StatusBadRequest},
	} {
		for _, method := range []string{"GET", "DELETE"} {
			if method == "DELETE" && tc.code == http.StatusOK {
				continue
			}
			if a := w.call(method, base+"?"+tc.query, ""); a.code != tc.code || len(a.body) > 4<<10 {
				t.Errorf("%s by %s: %d, %d bytes", method, tc.is, a.code, len(a.body))
			}
		}
	}
}
