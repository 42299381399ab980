package revocation

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ocsp"
)

// responder answers for a hierarchy whose leaf names it, or fails with a status.
type responder struct {
	*httptest.Server
	asked  atomic.Int32
	status atomic.Int32 // 0: it answers
}

func newResponder(t *testing.T, h *hierarchy) *responder {
	t.Setenv("NO_PROXY", "*")
	good := h.answer(t, h.issuer, h.issuer.crt, nil)
	r := &responder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		r.asked.Add(1)
		if status := r.status.Load(); status != 0 {
			w.WriteHeader(int(status))
			return
		}
		w.Write(good)
	}))
	t.Cleanup(r.Close)
	h.leaf.crt.OCSPServer = []string{r.URL}
	return r
}

// A responder that fails is left alone, longer with each failure in a row, for all
// certificates that name it; and asked as before once it answers again.
func TestAResponderThatFailsIsLeftAlone(t *testing.T) {
	h := newHierarchy(t)
	srv := newResponder(t, &h)
	var rs Responders
	now := time.Now()
	ask := func() error {
		r, err := rs.Ask(t.Context(), h.leaf.crt, h.issuer.crt, nil, nil, now)
		if err == nil && r.Status != ocsp.Good {
			t.Errorf("status %d", r.Status)
		}
		return err
	}
	srv.status.Store(http.StatusInternalServerError)
	for i, pause := range []time.Duration{time.Minute, 2 * time.Minute} {
		var fault *ResponderError
		if err := ask(); !errors.As(err, &fault) || fault.Until.Sub(now).Round(time.Minute) != pause {
			t.Fatalf("failure %d: %+v", i+1, err)
		}
		var held *ResponderHeld
		before := srv.asked.Load()
		if err := ask(); !errors.As(err, &held) || !held.Until.Equal(fault.Until) || srv.asked.Load() != before {
			t.Fatalf("it is not left alone: %v", err)
		}
		now = fault.Until.Add(time.Second)
	}
	srv.status.Store(0)
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	srv.status.Store(http.StatusInternalServerError)
	var fault *ResponderError
	if err := ask(); !errors.As(err, &fault) || fault.Until.Sub(now).Round(time.Minute) != time.Minute {
		t.Errorf("after an answer the pauses begin anew: %v", err)
	}
}

func TestWhoIsAsked(t *testing.T) {
	h := newHierarchy(t)
	srv := newResponder(t, &h)
	direct := func(*http.Request) (*url.URL, error) { return nil, nil }
	for name, tt := range map[string]struct {
		named     string
		overrides map[string]string
		issuer    bool // is known
		answered  bool
	}{
		"the responder that the certificate names": {srv.URL, nil, true, true},
		"the one that takes its place":             {"http://ocsp.test", map[string]string{"http://ocsp.test": srv.URL}, true, true},
		"none where it was turned off":             {srv.URL, map[string]string{srv.URL: ""}, true, false},
		"none without the issuer":                  {srv.URL, nil, false, false},
		"none where none is named":                 {"", nil, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			h := h
			leaf, issuer := *h.leaf.crt, h.issuer.crt
			if leaf.OCSPServer = []string{tt.named}; tt.named == "" {
				leaf.OCSPServer = nil
			}
			if !tt.issuer {
				issuer = nil
			}
			var rs Responders
			r, err := rs.Ask(t.Context(), &leaf, issuer, tt.overrides, direct, time.Now())
			if err != nil || (r != nil) != tt.answered {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestReasonsHaveNames(t *testing.T) {
	for name := range reasons {
		code, err := Reason(name)
		if err != nil || name != "unspecified" && ReasonName(code) != name {
			t.Errorf("%s: %d, %v", name, code, err)
		}
	}
	for code, want := range map[int]string{0: "", 2: "cACompromise", 6: "certificateHold", 9: "privilegeWithdrawn", 10: "aACompromise", 7: "reason 7"} {
		if got := ReasonName(code); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
	want := `revoking: reason "stolen" is not one of [affiliationChanged cessationOfOperation keyCompromise superseded unspecified]`
	if _, err := Reason("stolen"); fmt.Sprint(err) != want {
		t.Errorf("%v", err)
	}
}

func TestWhenAResponderIsAskedNext(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for name, tt := range map[string]struct {
		since, until time.Duration // thisUpdate, nextUpdate from now; 0: none
		from, to     time.Duration
	}{
		"halfway":                         {0, 10 * time.Hour, 270 * time.Minute, 5 * time.Hour},
		"half of what is left once later": {-8 * time.Hour, 2 * time.Hour, 54 * time.Minute, time.Hour},
		"twelve hours at most":            {0, 7 * 24 * time.Hour, 648 * time.Minute, 12 * time.Hour},
		"a minute at least":               {0, 10 * time.Second, time.Minute, time.Minute},
		"past already":                    {-time.Hour, -time.Minute, time.Minute, time.Minute},
		"no promise":                      {0, 0, 324 * time.Minute, 6 * time.Hour},
		"an absurd promise":               {0, 200 * 365 * 24 * time.Hour, 648 * time.Minute, 12 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			var next time.Time
			if tt.until != 0 {
				next = now.Add(tt.until)
			}
			spread := map[time.Time]bool{}
			for _, seed := range []string{"a.example.com", "b.example.com", "c.example.com"} {
				at := AskNext(now, now.Add(tt.since), next, seed)
				if d := at.Sub(now); d < tt.from || d > tt.to {
					t.Errorf("%s: in %v", seed, d)
				}
				spread[at] = true
			}
			if len(spread) == 1 && tt.from != tt.to {
				t.Error("all at once")
			}
		})
	}
}
