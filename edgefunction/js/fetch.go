package js

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

const (
	// maxFetches is how often one request may call fetch.
	maxFetches = 50
	// fetchesAtOnce is how many of these calls are under way at once.
	fetchesAtOnce = 6
	// maxRedirects is how many redirects fetch follows (Fetch standard, section 4.4).
	maxRedirects = 20
)

// fetched is what became of a call of fetch.
type fetched struct {
	id, head string
	body     []byte
	err      error
}

// fetch begins a call of fetch. head has lines: number, what to do with redirects,
// method, URL, then field lines.
func (x *exchange) fetch(head string, data []byte) {
	lines := strings.Split(strings.TrimSuffix(head, "\n"), "\n")
	if len(lines) < 4 {
		return
	}
	if x.running == nil {
		x.running, x.results = map[string]context.CancelFunc{}, make(chan fetched)
		x.turns = make(chan struct{}, fetchesAtOnce)
	}
	x.asked++
	ctx, cancel := context.WithCancel(x.ctx)
	x.running[lines[0]] = cancel
	asked := x.asked
	go func() {
		f := fetched{id: lines[0]}
		if asked > maxFetches {
			f.err = fmt.Errorf("the request asks for the %dth time: at most %d are let through", asked, maxFetches)
		} else {
			f.head, f.body, f.err = x.ask(ctx, lines, data)
		}
		select {
		case x.results <- f:
		case <-x.ctx.Done():
		}
	}()
}

// ask asks an origin, once it is this call's turn.
func (x *exchange) ask(ctx context.Context, lines []string, data []byte) (head string, body []byte, err error) {
	select {
	case x.turns <- struct{}{}:
		defer func() { <-x.turns }()
	case <-ctx.Done():
		return "", nil, ctx.Err()
	}
	r, err := x.question(ctx, lines, data)
	if err != nil {
		return "", nil, err
	}
	client := &http.Client{Transport: transport, CheckRedirect: x.redirects(lines[1])}
	resp, err := client.Do(r)
	if err != nil {
		if inner := (*url.Error)(nil); errors.As(err, &inner) {
			err = inner.Err
		}
		return "", nil, fmt.Errorf("%s: %w", lines[3], err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, x.settings.RequestBody+1))
	if err == nil && int64(len(body)) > x.settings.RequestBody {
		err = fmt.Errorf("the answer has more than %d bytes, the most that are read", x.settings.RequestBody)
	}
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", lines[3], err)
	}
	return headOf(resp, lines[3]), body, nil
}

func headOf(resp *http.Response, asked string) string {
	var b strings.Builder
	now, redirected := resp.Request.URL.String(), ""
	if now != asked {
		redirected = "redirected"
	}
	b.WriteString(strconv.Itoa(resp.StatusCode) + "\n" + now + "\n" + redirected)
	for name, values := range resp.Header {
		for _, v := range values {
			b.WriteString("\n" + strings.ToLower(name) + "\n" + latin1(v))
		}
	}
	return b.String()
}

// question is the request that a call of fetch asks.
func (x *exchange) question(ctx context.Context, lines []string, data []byte) (*http.Request, error) {
	u, err := url.Parse(lines[3])
	if err != nil {
		return nil, err
	}
	if err := x.granted(u); err != nil {
		return nil, err
	}
	if int64(len(data)) > x.settings.ResponseBody {
		return nil, fmt.Errorf("%s: the body has %d bytes: at most %d are sent", u, len(data), x.settings.ResponseBody)
	}
	r, err := http.NewRequestWithContext(ctx, lines[2], u.String(), bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	r.Header, err = fields(lines[4:], x.settings.Headers)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", u, err)
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
		r.Header.Del("Host")
	}
	return r, nil
}

// granted says whether a URL's origin may be asked.
func (x *exchange) granted(u *url.URL) error {
	origin, err := edgefunction.Origin(u.Scheme + "://" + u.Host)
	if err == nil && slices.Contains(x.settings.Fetch, origin) {
		return nil
	}
	return fmt.Errorf("%.200s: the function may not ask %.200s://%.200s: expected an origin that its configuration grants", u, u.Scheme, u.Host)
}

// redirects is what to do with redirects: follow, error or manual. They are followed
// within what is granted.
func (x *exchange) redirects(mode string) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		switch {
		case mode == "manual":
			return http.ErrUseLastResponse
		case mode == "error":
			return errors.New("the answer is a redirect, and redirect is error")
		case len(via) > maxRedirects:
			return fmt.Errorf("more than %d redirects", maxRedirects)
		}
		return x.granted(r.URL)
	}
}

// transport carries the calls of all functions. It knows no proxy: what may be asked is
// the configuration's word alone.
var transport = func() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.MaxResponseHeaderBytes = 64 << 10
	t.MaxIdleConnsPerHost = 64
	return t
}()
