package js

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// exchange is one request as it is served, or the evaluation of a module, which has no
// request.
type exchange struct {
	settings *edgefunction.Settings
	places   places // in the user's source
	w        http.ResponseWriter
	r        *http.Request

	ctx    context.Context // ends with the timeout, and when the client goes
	cancel context.CancelFunc
	linger func() bool // lets ctx outlive the client
	clock  *time.Timer // ends ctx
	ends   time.Time   // when it does

	body    body
	answer  answer
	settled bool // nothing is left that waitUntil was given
	results chan fetched
	running map[string]context.CancelFunc // calls of fetch
	asked   int                           // calls of fetch so far
	turns   chan struct{}                 // of calls of fetch

	printed    int64 // bytes
	overSince  time.Time
	describing bool // an error is being described, beyond the timeout
}

func newExchange(ctx context.Context, settings *edgefunction.Settings, p places) *exchange {
	x := &exchange{settings: settings, places: p}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	x.ctx = own
	x.linger = context.AfterFunc(ctx, cancel)
	x.clock, x.ends = time.AfterFunc(settings.Timeout, cancel), time.Now().Add(settings.Timeout)
	x.cancel = func() {
		x.clock.Stop()
		x.linger()
		cancel()
	}
	return x
}

// over reports whether the guest has to end.
func (x *exchange) over() bool { return x.ctx.Err() != nil }

// print logs what the function prints, as far as it may.
func (x *exchange) print(level, text string) {
	left := x.settings.Limits.Log - x.printed
	if left <= 0 {
		return
	}
	x.printed += int64(len(text)) + 1
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "warn": slog.LevelWarn, "error": slog.LevelError}
	x.settings.Log.Log(context.Background(), levels[level], "the function says", slog.String(edgefunction.LogText, words.Cut(x.places.name(text), int(min(left, maxPrinted)))))
	if x.printed >= x.settings.Limits.Log {
		x.settings.Log.Warn("the function prints more than it may with one request; the rest is dropped", slog.Int64("limit", x.settings.Limits.Log))
	}
}

// body is the request's body, once it was read.
type body struct {
	data   []byte
	read   bool
	closed bool // the request is with the next handler, or over
}

var errBodyClosed = errors.New("the body: its request is over")

// whole reads the request's body. A client that is too slow or goes is no fault of the
// function.
func (x *exchange) whole() ([]byte, error) {
	limit := x.settings.RequestBody
	switch {
	case x.r == nil || x.body.closed && !x.body.read:
		return nil, errBodyClosed
	case x.body.read:
		return x.body.data, nil
	case x.r.ContentLength > limit:
		return nil, edgefunction.Faultf(edgefunction.FaultTooLarge, "the request's body has %d bytes: at most %d are read", x.r.ContentLength, limit)
	}
	data, err := x.receive(limit)
	if err != nil {
		return nil, &brokenBody{err}
	}
	if int64(len(data)) > limit {
		return nil, edgefunction.Faultf(edgefunction.FaultTooLarge, "the request's body has more than %d bytes, the most that are read", limit)
	}
	x.body.data, x.body.read = data, true
	return data, nil
}

// slowest is the rate below which a client is too slow, in bytes a second: what it
// sends while a function waits for it holds up one of the function's places.
const slowest = 16 << 10

// receive reads up to limit+1 bytes of the request's body. The function's clock stands
// meanwhile; the client has a bound of its own.
func (x *exchange) receive(limit int64) ([]byte, error) {
	if x.clock.Stop() {
		left := time.Until(x.ends)
		defer func() {
			x.ends = time.Now().Add(left)
			x.clock.Reset(left)
		}()
	}
	control := http.NewResponseController(x.w)
	body := &patient{body: x.r.Body, control: control, patience: x.settings.Timeout}
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && body.bounded {
		err = control.SetReadDeadline(time.Time{})
	}
	return data, err
}

// patient reads from a client: it has patience to begin with, and more for what came.
type patient struct {
	body     io.Reader
	control  *http.ResponseController
	patience time.Duration
	bounded  bool // the connection knows deadlines; the recorders of tests do not
}

// Read implements io.Reader.
func (p *patient) Read(data []byte) (int, error) {
	began := time.Now()
	p.bounded = p.control.SetReadDeadline(began.Add(p.patience)) == nil
	n, err := p.body.Read(data)
	p.patience += time.Duration(n)*time.Second/slowest - time.Since(began)
	return n, err
}

// brokenBody says that a request's body could not be read to its end.
type brokenBody struct{ err error }

func (b *brokenBody) Error() string { return "reading the request's body: " + b.err.Error() }
func (b *brokenBody) Unwrap() error { return b.err }

// slow reports whether the client was too slow.
func (b *brokenBody) slow() bool { return errors.Is(b.err, os.ErrDeadlineExceeded) }

// head is the request in the lines that the prelude's serve takes.
func (x *exchange) head() string {
	r := x.r
	path := r.URL.RequestURI()
	if !strings.HasPrefix(path, "/") {
		path = "/" // OPTIONS *
	}
	lines := []string{r.Method, schemeFor(r) + r.Host + path, r.RemoteAddr, "host", r.Host}
	for name, values := range r.Header {
		name = strings.ToLower(name)
		for _, v := range values {
			lines = append(lines, name, latin1(v))
		}
	}
	for n, line := range lines { // servers refuse line breaks; a line more would be a field
		if strings.Contains(line, "\n") {
			lines[n] = strings.ReplaceAll(line, "\n", " ")
		}
	}
	return strings.Join(lines, "\n")
}

func schemeFor(r *http.Request) string {
	if r.TLS != nil {
		return "https://"
	}
	return "http://"
}

// maxHost is the length of the longest name (RFC 1035) with a port.
const maxHost = 253 + len(":65535")

// hasHost reports whether a request's URL can be told: a function that parses it is
// not to fail because of what a client sends.
func hasHost(r *http.Request) bool {
	if r.Host == "" || len(r.Host) > maxHost {
		return false
	}
	last := r.Host[strings.LastIndexByte(r.Host, '.')+1:]
	for n := range len(r.Host) {
		c := r.Host[n]
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '.' || c == '-' {
			continue
		}
		return parseWeb(schemeFor(r)+r.Host+"/") != nil
	}
	if !strings.Contains(r.Host, "xn--") && len(last) > 0 && last[0] >= 'a' {
		return true // as nearly all are
	}
	return parseWeb(schemeFor(r)+r.Host+"/") != nil
}

// latin1 has a character for each byte of s, as field values have in JavaScript.
func latin1(s string) string {
	for n := range len(s) {
		if s[n] < 0x80 {
			continue
		}
		runes := make([]rune, len(s))
		for k := range len(s) {
			runes[k] = rune(s[k])
		}
		return string(runes)
	}
	return s
}

// octets is the inverse of latin1.
func octets(s string) string {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		out = append(out, byte(r)) // the prelude refused others
	}
	return string(out)
}

// judge says whose fault it is that the guest ended with err.
func (i *instance) judge(err error) error {
	x := i.x
	var broken *brokenBody
	said := ""
	if t := (*thrown)(nil); errors.As(err, &t) {
		said = x.places.name(t.text)
	}
	_, isFault := edgefunction.AsFault(err)
	switch {
	case isFault, errors.As(err, &broken):
		return err
	case x.r != nil && x.r.Context().Err() != nil:
		return x.r.Context().Err()
	case x.over():
		return edgefunction.Faultf(edgefunction.FaultTimeout, "it ran longer than %s%s", x.settings.Timeout, after(said))
	case i.memory.refused || strings.HasPrefix(said, "InternalError: out of memory"):
		return edgefunction.Faultf(edgefunction.FaultMemory, "it wanted more than %d bytes of memory%s", x.settings.Memory, after(said))
	case said != "":
		return edgefunction.Faultf(edgefunction.FaultCrash, "%s", said)
	default:
		return edgefunction.Faultf(edgefunction.FaultCrash, "the engine ended: %s", words.Cut(err.Error(), maxSaid))
	}
}
