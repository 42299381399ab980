package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

const (
	// collection is the path of all records.
	collection = "/apis/" + v1alpha3.Group + "/" + v1alpha3.Version + "/" + v1alpha3.Resource

	typeJSON       = "application/json"
	typeTable      = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
	typeMergePatch = "application/merge-patch+json"
	typeApplyPatch = "application/apply-patch+yaml"
	typeApplyLines = "application/apply-patch+ndjson"
	typeLines      = "application/x-ndjson"

	// fieldManager is whose fields the command line's writes are.
	fieldManager = "caddy-apoxy"

	// maxAnswer bounds an answer, in bytes; maxErrorBody one that is an error.
	maxAnswer    = 512 << 20
	maxErrorBody = 1 << 20
	// maxEvent bounds one event of a watch, in bytes.
	maxEvent = 64 << 20
)

// client talks to the API. Its errors are *apierrors.StatusError where the
// server said something, and sentences where it did not.
type client struct {
	http *http.Client
	base string
	// warn is where the server's warnings go.
	warn io.Writer
	// patience is how long the server may take.
	patience patience
	// mostEvent bounds one event of a watch, in bytes. Default: maxEvent.
	mostEvent int
}

// request is one call.
type request struct {
	method string
	// path in place of that of the records.
	path string
	// name of the record; empty: the collection.
	name, subresource string
	query             url.Values
	accept            string
	contentType       string
	body              []byte
	// from is a body that is read while the answer comes, in place of body.
	from io.Reader
	// unbounded: the answer may take as long as ctx allows, because the server
	// works for it.
	unbounded bool
	// stream: the answer is a watch, which may be silent once it has begun.
	stream bool
}

func (r request) url(base string) string {
	if r.path != "" {
		return base + r.path
	}
	u := base + collection
	if r.name != "" {
		u += "/" + url.PathEscape(r.name)
	}
	if r.subresource != "" {
		u += "/" + r.subresource
	}
	if len(r.query) > 0 {
		u += "?" + r.query.Encode()
	}
	return u
}

// send makes the call and returns an answer below 400, whose body the caller
// closes.
func (c *client) send(ctx context.Context, r request) (*http.Response, error) {
	outer := ctx
	ctx, watch := c.patience.begin(ctx, c.base, r)
	if r.from == nil {
		r.from = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url(c.base), r.from)
	if err != nil {
		watch.end()
		return nil, fmt.Errorf("preparing a request to %s: %w", c.base, err)
	}
	req.Header.Set("User-Agent", fieldManager)
	req.Header.Set("Accept", r.accept)
	if r.accept == "" {
		req.Header.Set("Accept", typeJSON)
	}
	if r.contentType != "" {
		req.Header.Set("Content-Type", r.contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		defer watch.end()
		for _, ctx := range []context.Context{outer, ctx} {
			if cause := context.Cause(ctx); cause != nil {
				return nil, cause
			}
		}
		return nil, unreachable(c.base, err)
	}
	resp.Body = watch.answered(resp.Body)
	c.warnings(resp.Header)
	if resp.StatusCode >= 400 {
		defer resp.Body.Close()
		return nil, c.refusal(resp)
	}
	return resp, nil
}

// refusal reads what the server has against a request.
func (c *client) refusal(resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	var s metav1.Status
	if json.Unmarshal(body, &s) == nil && s.Kind == "Status" {
		if s.Code == 0 {
			s.Code = int32(resp.StatusCode)
		}
		return &apierrors.StatusError{ErrStatus: s}
	}
	var caddy struct{ Error string }
	_ = json.Unmarshal(body, &caddy) // whatever else it is has no such member
	if advice := adviceFor(resp.StatusCode, string(body)); advice != "" {
		if caddy.Error != "" {
			advice = caddy.Error + "; " + advice
		}
		return fmt.Errorf("%s answered %s: %s", c.base, resp.Status, advice)
	}
	switch {
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("the Caddy at %s serves no domain records: does its configuration have the global option apoxy?", c.base)
	case caddy.Error != "":
		return fmt.Errorf("the Caddy at %s answered %s: %s", c.base, resp.Status, caddy.Error)
	case len(bytes.TrimSpace(body)) == 0:
		return fmt.Errorf("%s answered %s and nothing more: is it Caddy's admin endpoint? --address names another", c.base, resp.Status)
	}
	return fmt.Errorf("the Caddy at %s answered %s: %s", c.base, resp.Status, quote(string(body)))
}

// warnings prints Warning headers (RFC 7234 section 5.5) as kubectl does.
func (c *client) warnings(h http.Header) {
	for _, w := range h.Values("Warning") {
		_, text, ok := strings.Cut(w, `"`)
		if end := strings.LastIndexByte(text, '"'); ok && end >= 0 {
			if plain, err := strconv.Unquote(`"` + text[:end] + `"`); err == nil {
				fmt.Fprintln(c.warn, "warning: "+harmless(plain))
			}
		}
	}
}

// read makes the call and decodes the answer into out.
func (c *client) read(ctx context.Context, r request, out any) (status int, err error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("reading the answer of %s, which broke off: %w; try again", c.base, err)
	}
	if err := json.Unmarshal(body, out); err != nil {
		return 0, fmt.Errorf("reading the answer of %s: it is not the API's: %w", c.base, err)
	}
	return resp.StatusCode, nil
}

// object is read for a single record.
func (c *client) object(ctx context.Context, r request) (*unstructured.Unstructured, int, error) {
	return c.objectOf(ctx, v1alpha3.Kind, r)
}

// objectOf is object for another kind.
func (c *client) objectOf(ctx context.Context, kind string, r request) (*unstructured.Unstructured, int, error) {
	u := &unstructured.Unstructured{}
	status, err := c.read(ctx, r, u)
	if err == nil && u.GetKind() != kind {
		err = c.stranger(u.GetKind(), kind)
	}
	return u, status, err
}

// stranger is the error of an answer of another kind.
func (c *client) stranger(kind, want string) error {
	return fmt.Errorf("reading the answer of %s: it is a %s and no %s: is that Caddy's admin endpoint? --address names another", c.base, quote(kind), want)
}

// get returns a record by its name or, if none has it, by its hostname.
func (c *client) get(ctx context.Context, name string) (*unstructured.Unstructured, error) {
	u, _, err := c.object(ctx, request{method: http.MethodGet, name: name})
	if err == nil || !apierrors.IsNotFound(err) {
		return u, err
	}
	byHost, failed := c.byHostname(ctx, name)
	switch {
	case failed != nil:
		return nil, failed
	case byHost != nil:
		return byHost, nil
	}
	return nil, err
}

// byHostname returns the record of a hostname, nil if there is none or the
// argument is no hostname.
func (c *client) byHostname(ctx context.Context, arg string) (*unstructured.Unstructured, error) {
	host, err := v1alpha3.NormalizeHostname(arg)
	if err != nil {
		return nil, nil
	}
	list, err := c.list(ctx, listQuery{fields: "spec.name=" + host, limit: 1})
	if err != nil || len(list.Items) != 1 {
		return nil, err
	}
	return &list.Items[0], nil
}

// hostnameOr returns the name of the record whose hostname an argument is, and
// missing, the server's own error, if there is none.
func (c *client) hostnameOr(ctx context.Context, arg string, missing error) (string, error) {
	u, err := c.byHostname(ctx, arg)
	switch {
	case err != nil:
		return "", err
	case u == nil:
		return "", missing
	}
	return u.GetName(), nil
}

// name returns the name of the record that an argument means: the argument
// itself if a record has that name, else that of the record whose hostname it
// is, else the argument, for the server to answer.
func (c *client) name(ctx context.Context, arg string) (string, error) {
	u, err := c.get(ctx, arg)
	switch {
	case err == nil:
		return u.GetName(), nil
	case apierrors.IsNotFound(err):
		return arg, nil
	}
	return "", err
}

// record is get as the API's type.
func (c *client) record(ctx context.Context, name string) (*v1alpha3.DomainRecord, error) {
	u, err := c.get(ctx, name)
	if err != nil {
		return nil, err
	}
	return toRecord(u)
}

func toRecord(u *unstructured.Unstructured) (*v1alpha3.DomainRecord, error) {
	raw, err := u.MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("reading the record %q: %w", u.GetName(), err)
	}
	r := &v1alpha3.DomainRecord{}
	if err := json.Unmarshal(raw, r); err != nil {
		return nil, fmt.Errorf("reading the record %q: %w", u.GetName(), err)
	}
	return r, nil
}

// listQuery narrows a list or watch.
type listQuery struct {
	labels, fields  string
	limit           int
	continueToken   string
	resourceVersion string
}

func (q listQuery) values() url.Values {
	v := url.Values{}
	set := func(key, value string) {
		if value != "" {
			v.Set(key, value)
		}
	}
	set("labelSelector", q.labels)
	set("fieldSelector", q.fields)
	set("continue", q.continueToken)
	set("resourceVersion", q.resourceVersion)
	if q.limit > 0 {
		v.Set("limit", strconv.Itoa(q.limit))
	}
	return v
}

// list returns one page.
func (c *client) list(ctx context.Context, q listQuery) (*unstructured.UnstructuredList, error) {
	l := &unstructured.UnstructuredList{}
	if _, err := c.read(ctx, request{method: http.MethodGet, query: q.values()}, l); err != nil {
		return nil, err
	}
	if l.GetKind() != v1alpha3.ListKind {
		return nil, c.stranger(l.GetKind(), v1alpha3.ListKind)
	}
	return l, nil
}

// nextPage is the token of the page after the one that was asked for with a token. A
// server that offers the same one again would be asked for ever.
func (c *client) nextPage(asked, offered string) (string, error) {
	if offered != "" && offered == asked {
		return "", fmt.Errorf("reading the list of %s: the page after this one is this one again; ask for all in one with --chunk-size=0, or see what stands before the endpoint", c.base)
	}
	return offered, nil
}

// resumeToken returns the token that the server offers when it has forgotten the
// revision that a list began at. The rest is then newer than the beginning.
func resumeToken(err error) (string, bool) {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsResourceExpired(err) || status.ErrStatus.Continue == "" {
		return "", false
	}
	return status.ErrStatus.Continue, true
}

// errExpired: the server no longer keeps the revision that was asked for.
var errExpired = errors.New("the server no longer keeps that revision")

// patch changes a record.
func (c *client) patch(ctx context.Context, name, contentType string, body []byte, query url.Values) (*unstructured.Unstructured, int, error) {
	return c.object(ctx, request{method: http.MethodPatch, name: name, contentType: contentType, body: body, query: query})
}
