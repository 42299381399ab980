package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// bulkFrom is from how many manifests on they go to the server in one request.
const bulkFrom = 100

// remaining is what take has left.
type remaining struct {
	next func() (manifest, error, bool)
	stop func()
	more bool
}

// take returns the first manifests, up to so many with what is wrong with others.
func take(each iter.Seq2[manifest, error], most int) (ms []manifest, bad []error, rest remaining) {
	rest.next, rest.stop = iter.Pull2(each)
	for len(ms)+len(bad) < most {
		m, err, ok := rest.next()
		switch {
		case !ok:
			return ms, bad, rest
		case err != nil:
			bad = append(bad, err)
		default:
			ms = append(ms, m)
		}
	}
	rest.more = true
	return ms, bad, rest
}

// after yields the manifests taken, then the others.
func (r remaining) after(taken []manifest) iter.Seq2[manifest, error] {
	return func(yield func(manifest, error) bool) {
		for _, m := range taken {
			if !yield(m, nil) {
				return
			}
		}
		for {
			if m, err, ok := r.next(); !ok || !yield(m, err) {
				return
			}
		}
	}
}

// itemResult is the server's answer to one line; docs/api.md has its fields.
type itemResult struct {
	Item     int
	Name     string
	Outcome  outcome
	Warnings []string
	Status   *metav1.Status
}

// applyBulk applies the manifests by one request, of which the server answers each. It
// reports false if the server knows no such request: then nothing was sent.
func (o *applyOptions) applyBulk(ctx context.Context, c *client, taken []manifest, errs []error, rest remaining, dry bool) (done bool, err error) {
	query := url.Values{"fieldManager": {o.manager}, "fieldValidation": {"Strict"}, "force": {strconv.FormatBool(!o.serverSide || o.force)}}
	if dry {
		query.Set("dryRun", "All")
	}
	r := request{method: http.MethodPatch, query: query, accept: typeLines + "," + typeJSON, contentType: typeApplyLines, stream: true}
	probe, err := c.send(ctx, r)
	var status *apierrors.StatusError
	if errors.As(err, &status) && (status.ErrStatus.Code == http.StatusMethodNotAllowed || status.ErrStatus.Code == http.StatusUnsupportedMediaType) {
		return false, nil
	}
	if err != nil {
		return true, err
	}
	probe.Body.Close()
	reader, writer := io.Pipe()
	r.from = reader
	b := &bulk{options: o, dry: dry, sent: make(chan string, 1<<16)}
	go func() {
		_ = writer.CloseWithError(b.write(ctx, writer, rest.after(taken))) // never fails
		close(b.sent)
	}()
	resp, err := c.send(ctx, r)
	if err != nil {
		_ = reader.CloseWithError(err)
		return true, err
	}
	defer resp.Body.Close()
	err = b.read(c, resp.Body)
	_ = reader.CloseWithError(io.ErrClosedPipe) // whoever still writes writes for nobody
	for range b.sent {
	}
	if err != nil {
		return true, err
	}
	return true, join(append(append(errs, b.unread...), b.refused...))
}

// bulk is an apply of many under way.
type bulk struct {
	options *applyOptions
	dry     bool
	// sent are the sources of what was sent, in its order.
	sent chan string
	// unread are manifests that were not sent, for who writes; refused those that the
	// server refused, for who reads.
	unread, refused []error
}

// write sends manifests, one a line. An error is one of sending.
func (b *bulk) write(ctx context.Context, w io.Writer, each iter.Seq2[manifest, error]) error {
	out := bufio.NewWriterSize(w, 64<<10)
	for m, err := range each {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			b.unread = append(b.unread, err)
			continue
		}
		m.SetManagedFields(nil)
		line, err := json.Marshal(m.Object)
		if err != nil {
			b.unread = append(b.unread, fmt.Errorf("%s: writing the record: %w", m.source, err))
			continue
		}
		b.sent <- m.source
		if _, err := out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	return out.Flush()
}

// read tells of each answer. An error ends it: what was not answered may be applied
// again.
func (b *bulk) read(c *client, body io.Reader) error {
	answers := bufio.NewReader(body)
	n := 0
	for source := range b.sent {
		line, err := answers.ReadBytes('\n')
		var result itemResult
		if err == nil {
			err = json.Unmarshal(bytes.TrimSpace(line), &result)
		}
		if err != nil {
			return fmt.Errorf("the answer of %s broke off after %d records: %w; apply again: what is there already stays as it is", c.base, n, err)
		}
		n++
		for _, w := range result.Warnings {
			fmt.Fprintf(c.warn, "warning: %s: %s\n", source, harmless(w))
		}
		switch {
		case result.Item != n:
			return fmt.Errorf("reading the answer of %s: it is not the API's: item %d, want %d", c.base, result.Item, n)
		case result.Status != nil && result.Name == "" && result.Status.Reason == metav1.StatusReasonServiceUnavailable:
			return &apierrors.StatusError{ErrStatus: *result.Status}
		case result.Status != nil:
			b.refused = append(b.refused, within(source, &apierrors.StatusError{ErrStatus: *result.Status}))
			continue
		case b.options.serverSide:
			result.Outcome = applied
		}
		fmt.Fprintf(b.options.env.Stdout, "%s %s%s\n", told(result.Name), result.Outcome, dryNote(b.dry))
	}
	return nil
}
