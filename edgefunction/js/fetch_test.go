package js

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

// origins are a server that a function may ask and one that it may not.
func origins(t *testing.T) (granted, other *httptest.Server, strangers *atomic.Int64) {
	strangers = &atomic.Int64{}
	other = httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { strangers.Add(1) }))
	t.Cleanup(other.Close)
	granted = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/echo":
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Got", r.Header.Get("X-Sent"))
			w.WriteHeader(http.StatusTeapot)
			fmt.Fprintf(w, "%s %s", r.Method, body)
		case "/here":
			http.Redirect(w, r, "/echo", http.StatusFound)
		case "/there":
			http.Redirect(w, r, other.URL, http.StatusFound)
		case "/round":
			http.Redirect(w, r, "/round", http.StatusFound)
		case "/large":
			_, _ = io.Copy(w, io.LimitReader(strings.NewReader(strings.Repeat("x", 2<<20)), 2<<20))
		case "/headers":
			w.Header().Set("X", strings.Repeat("x", 100<<10))
		case "/never":
			<-r.Context().Done()
		}
	}))
	t.Cleanup(granted.Close)
	return granted, other, strangers
}

func TestFetch(t *testing.T) {
	granted, other, strangers := origins(t)
	f := compile(t, `export default { async fetch(r, env) {
		const ask = new URL(r.url).searchParams, say = (a) => [a.status, a.url.replace(env.ORIGIN, ""), a.redirected, a.headers.get("x-got")].join(" ");
		const init = ask.has("init") ? JSON.parse(ask.get("init")) : {};
		if (ask.has("abort")) { const c = new AbortController(); init.signal = c.signal; setTimeout(() => c.abort(), 1); }
		try {
			const a = await fetch(ask.get("url"), init);
			return new Response(say(a) + " " + await a.text());
		} catch (e) {
			return new Response(e.name + ": " + e.message);
		}
	} }`, func(s *edgefunction.Settings) {
		roomy(s)
		s.Fetch, s.Env = []string{granted.URL}, map[string]string{"ORIGIN": granted.URL}
	})
	for _, test := range []struct{ query, want string }{
		{"url=ORIGIN/echo", "418 /echo false  GET "},
		{`url=ORIGIN/echo&init={"method":"POST","body":"hi","headers":{"X-Sent":"v"}}`, "418 /echo false v POST hi"},
		{"url=ORIGIN/here", "418 /echo true  GET "},
		{`url=ORIGIN/here&init={"redirect":"manual"}`, "302 /here false  <a href=\"/echo\">Found</a>.\n\n"},
		{`url=ORIGIN/here&init={"redirect":"error"}`, "TypeError: fetch: ORIGIN/here: the answer is a redirect, and redirect is error"},
		{"url=ORIGIN/there", "TypeError: fetch: ORIGIN/there: OTHER: the function may not ask OTHER: expected an origin that its configuration grants"},
		{"url=OTHER/", "TypeError: fetch: OTHER/: the function may not ask OTHER: expected an origin that its configuration grants"},
		{"url=ORIGIN/round", "TypeError: fetch: ORIGIN/round: more than 20 redirects"},
		{"url=ORIGIN/large", "TypeError: fetch: ORIGIN/large: the answer has more than 1048576 bytes, the most that are read"},
		{"url=ORIGIN/never&abort", "AbortError: The operation was aborted"},
	} {
		named := strings.NewReplacer("ORIGIN", granted.URL, "OTHER", other.URL)
		w, err := f.ask("GET", "http://a.example/?"+strings.NewReplacer("\"", "%22", " ", "%20").Replace(named.Replace(test.query)), "")
		if want := named.Replace(test.want); err != nil || w.Body.String() != want {
			t.Errorf("%s: %v\n%s\nwant\n%s", test.query, err, w.Body, want)
		}
	}
	w, err := f.ask("GET", "http://a.example/?url="+granted.URL+"/headers", "")
	if err != nil || !strings.Contains(w.Body.String(), "TypeError: fetch: ") {
		t.Error("large header fields were let through:", err, w.Body)
	}
	if n := strangers.Load(); n != 0 {
		t.Errorf("an origin that is not granted was asked %d times", n)
	}
}

func TestFetchIsBounded(t *testing.T) {
	var now, most atomic.Int64
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				return
			}
		}
	}))
	defer origin.Close()
	f := compile(t, `export default { async fetch(r, env) {
		const all = await Promise.allSettled(Array.from({ length: 60 }, () => fetch(env.ORIGIN)));
		return new Response(all.map((a) => a.status === "fulfilled" ? a.value.status : a.reason.message.slice(0, 20)).join());
	} }`, func(s *edgefunction.Settings) {
		roomy(s)
		s.Fetch, s.Env = []string{origin.URL}, map[string]string{"ORIGIN": origin.URL}
	})
	w, err := f.ask("GET", "http://a.example/", "")
	if err != nil || strings.Count(w.Body.String(), "200") != maxFetches || strings.Count(w.Body.String(), "fetch: the request") != 60-maxFetches {
		t.Error(err, w.Body)
	}
	if n := most.Load(); n > fetchesAtOnce {
		t.Errorf("%d calls were under way at once, at most %d may be", n, fetchesAtOnce)
	}
}

// TestFetchEndsWithItsRequest has a function time out in a fetch.
func TestFetchEndsWithItsRequest(t *testing.T) {
	left := make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		close(left)
	}))
	defer origin.Close()
	f := compile(t, `export default { async fetch(r, env) { return await fetch(env.ORIGIN) } }`, func(s *edgefunction.Settings) {
		small(s)
		s.Fetch, s.Env = []string{origin.URL}, map[string]string{"ORIGIN": origin.URL}
	})
	_, err := f.ask("GET", "http://a.example/", "")
	if fault, ok := edgefunction.AsFault(err); !ok || fault.Kind != edgefunction.FaultTimeout {
		t.Error(err)
	}
	<-left
}
