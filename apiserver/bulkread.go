package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net/http"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// read hands the lines of the body to the workers until it ends, and calls gone if the
// client has left.
func (s *bulk) read(ctx context.Context, gone context.CancelFunc, rc *http.ResponseController) {
	defer func() {
		for _, queue := range s.queues {
			close(queue)
		}
		close(s.order)
	}()
	ending, end := context.WithCancel(s.call.s.closed)
	defer end()
	if down := s.call.s.shutdowns.context(s.call.r); down != nil {
		defer context.AfterFunc(down, end)()
	}
	stop := func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) }
	defer context.AfterFunc(ending, stop)()
	most := s.call.s.objectBounds().content
	lines := bufio.NewReaderSize(s.call.r.Body, 64<<10)
	for n := 1; ; {
		_ = rc.SetReadDeadline(time.Now().Add(s.call.s.cfg.Limits.BodyRead))
		if ending.Err() != nil {
			stop()
		}
		line, err := readLine(lines, most)
		if len(line) > 0 {
			if !s.hand(ctx, n, line, nil) {
				return
			}
			n++
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			_ = rc.SetReadDeadline(time.Time{}) // net/http goes on reading, to see the client leave
			return
		case ctx.Err() != nil:
			return
		default:
			if !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, errLineTooLong) {
				gone()
			}
			s.hand(ctx, n, nil, s.errRead(err, most, ending.Err() != nil))
			return
		}
	}
}

// readLine returns the next line without the white space around it, which may be all.
func readLine(r *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > most {
			return nil, errLineTooLong
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimSpace(line), err
		}
	}
}

var errLineTooLong = errors.New("a line is too long")

// errRead is the end of a stream whose body cannot be read on.
func (s *bulk) errRead(err error, most int, ending bool) error {
	switch {
	case errors.Is(err, errLineTooLong):
		return apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("a line has more than %d bytes: the stream ends here", most))
	case ending:
		e := apierrors.NewServiceUnavailable("the server is stopping: apply the rest in a moment")
		e.ErrStatus.Details = &metav1.StatusDetails{RetryAfterSeconds: 1}
		return e
	case errors.Is(err, os.ErrDeadlineExceeded):
		return errSlowBody(s.call.s.cfg.Limits.BodyRead)
	}
	return apierrors.NewBadRequest("reading the body: " + err.Error())
}

// hand queues a line, or an error that needs no work. It waits while too much is on its
// way, and reports false if that is given up.
func (s *bulk) hand(ctx context.Context, n int, line []byte, failed error) bool {
	item := &bulkItem{line: line, tokens: 1 + len(line)/streamToken, done: make(chan struct{}), result: ItemResult{Item: n}}
	for range item.tokens {
		select {
		case s.tokens <- struct{}{}:
		case <-ctx.Done():
			return false
		}
	}
	select {
	case s.order <- item:
	case <-ctx.Done():
		return false
	}
	if failed != nil {
		status := s.call.s.status(failed, s.call)
		item.result.Status = &status
		close(item.done)
		return true
	}
	name, hostname := named(line)
	if hostname == "" {
		hostname = name
	}
	s.queues[maphash.String(s.seed, hostname)%streamWorkers] <- item // its worker goes on
	return true
}

// named reads what a configuration is about, as far as that can be read: its name, and
// its hostname in the form that is kept.
func named(line []byte) (name, hostname string) {
	if readMember(line, &name, "metadata", "name") != nil || readMember(line, &hostname, "spec", "name") != nil {
		return name, hostname // whoever decodes it says what is wrong
	}
	if n, err := v1alpha3.NormalizeHostname(hostname); err == nil {
		hostname = n
	}
	return name, hostname
}

// apply applies one configuration.
func (s *bulk) apply(ctx context.Context, item *bulkItem) ItemResult {
	result := item.result
	headers := headersOnly{http.Header{}}
	c := &call{s: s.call.s, w: headers, r: s.call.r.WithContext(ctx), query: s.call.query, verb: s.call.verb}
	r, what, err := c.applyNamed(ctx, item.line, s.options)
	item.line = nil
	result.Name = c.name
	if err == nil {
		result.Outcome, result.ResourceVersion = what, r.ResourceVersion
	} else {
		status := c.s.status(err, c)
		result.Status = &status
	}
	for _, h := range headers.h["Warning"] {
		if w, _, err := utilnet.ParseWarningHeader(h); err == nil {
			result.Warnings = append(result.Warnings, w.Text)
		}
	}
	return result
}

// applyNamed applies a configuration to the record that it means: the one of its name or,
// if there is none, of its hostname, as sameOwner allows. Without a name it is that which
// the hostname gives.
func (c *call) applyNamed(ctx context.Context, line []byte, o writeOptions) (*v1alpha3.DomainRecord, string, error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	name, hostname := named(line)
	if c.name = name; name == "" && hostname != "" {
		c.name = v1alpha3.RecordName(hostname)
	}
	config, err := c.readConfiguration(line, o.validation)
	if err != nil {
		return nil, "", err
	}
	if c.name == "" {
		return nil, "", invalid("", field.ErrorList{field.Required(field.NewPath("spec", "name"), "")})
	}
	r, what, err := c.applyToLive(ctx, config, o)
	if !apierrors.IsNotFound(err) {
		return r, what, err
	}
	holder, err := c.holderOf(ctx, hostname, config, name != "")
	if err != nil {
		return nil, "", err
	}
	if holder != "" && holder != c.name {
		if name != "" {
			c.warn(fmt.Sprintf("the record of %s has the name %s, not %s, and stays under it", hostname, holder, c.name))
		}
		c.name = holder
		(&unstructured.Unstructured{Object: config}).SetName(holder)
	}
	return c.applyConfiguration(ctx, config, o)
}

// holderOf returns the name of the record that has a hostname, if a configuration that
// does not name it may mean it: one for another owner, or that asks to take a record's
// place, is a claim to the hostname, and is to be refused or granted as such.
func (c *call) holderOf(ctx context.Context, hostname string, config map[string]any, byName bool) (string, error) {
	e, _, err := c.s.cfg.Store.Get(ctx, hostnameKey(hostname))
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrDamaged) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading who has the hostname %q: %w", hostname, err)
	}
	live, _, err := c.s.load(ctx, string(e.Value))
	if apierrors.IsNotFound(err) || errors.Is(err, store.ErrDamaged) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	u := unstructured.Unstructured{Object: config}
	owner, says := u.GetLabels()[v1alpha3.OwnerLabel]
	if u.GetAnnotations()[v1alpha3.ReplacesAnnotation] != "" || owner != live.Owner() && (says || byName) {
		return "", nil
	}
	return live.Name, nil
}

// headersOnly is where a call that is answered otherwise puts its warnings.
type headersOnly struct{ h http.Header }

func (w headersOnly) Header() http.Header         { return w.h }
func (w headersOnly) Write(p []byte) (int, error) { return len(p), nil }
func (w headersOnly) WriteHeader(int)             {}
