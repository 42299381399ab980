package dashboard

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Bounds on a call of the API: how long it may take to read, and to do something, what is
// taken of its answer, and how many records are read at a time.
const (
	readTimeout  = 5 * time.Second
	writeTimeout = time.Minute
	maxAnswer    = 8 << 20
	readers      = perPage // without its engine, the store takes a second for each
)

var recordsPath = "/apis/" + v1alpha3.GroupVersion.String() + "/" + v1alpha3.Resource + "/"

// api calls the API within this process.
type api struct{ handler http.Handler }

// get reads a record. stale is what the API says if it could not be confirmed that this is
// the newest.
func (a api) get(ctx context.Context, name string) (r *v1alpha3.DomainRecord, stale string, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	answer, err := a.call(ctx, http.MethodGet, name, "", nil, nil)
	if err != nil {
		return nil, "", err
	}
	r = new(v1alpha3.DomainRecord)
	if err := json.Unmarshal(answer.body.Bytes(), r); err != nil {
		return nil, "", fmt.Errorf("reading record %q: %w", name, err)
	}
	return r, answer.header.Get("Warning"), nil
}

// row is a record of a list, or why it cannot be shown.
type row struct {
	Name   string
	Record *v1alpha3.DomainRecord
	Stale  string
	Err    error
}

// all reads records, in the order of their names. Those that are gone are left out.
func (a api) all(ctx context.Context, names []string) []row {
	rows := make([]row, len(names))
	places := make(chan struct{}, readers)
	var reading sync.WaitGroup
	for i, name := range names {
		places <- struct{}{}
		reading.Go(func() {
			defer func() { <-places }()
			rows[i].Name = name
			rows[i].Record, rows[i].Stale, rows[i].Err = a.get(ctx, name)
		})
	}
	reading.Wait()
	var shown []row
	for _, row := range rows {
		if refused := (*refusal)(nil); errors.As(row.Err, &refused) && refused.Status == http.StatusNotFound {
			continue
		}
		shown = append(shown, row)
	}
	return shown
}

// do has the API change something of a record that is still the one that is meant.
func (a api) do(ctx context.Context, method, name, sub string, query url.Values, body any) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	_, err := a.call(ctx, method, name, sub, query, body)
	return err
}

// refusal is what the API refuses a call with.
type refusal struct{ problem }

func (e *refusal) Error() string { return e.Text }

// call returns the API's answer, or its refusal as an error.
func (a api) call(ctx context.Context, method, name, sub string, query url.Values, body any) (*answer, error) {
	path := recordsPath + url.PathEscape(name)
	if sub != "" {
		path += "/" + sub
	}
	var sent bytes.Buffer
	if body != nil {
		if err := json.NewEncoder(&sent).Encode(body); err != nil {
			return nil, fmt.Errorf("encoding a call of the API: %w", err)
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://dashboard"+path+"?"+query.Encode(), &sent)
	if err != nil {
		return nil, fmt.Errorf("building a call of the API: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	out := &answer{header: http.Header{}}
	a.handler.ServeHTTP(out, r)
	switch {
	case out.code == 0 && ctx.Err() != nil:
		return nil, &refusal{problem{http.StatusGatewayTimeout, "The answer took too long."}}
	case out.over:
		return nil, &refusal{problem{http.StatusInternalServerError, "The record is too large to be shown."}}
	case out.code < 300:
		return out, nil
	}
	var status metav1.Status
	if json.Unmarshal(out.body.Bytes(), &status) != nil || status.Message == "" {
		status.Message = "The API answers " + http.StatusText(out.code) + "."
	}
	return nil, &refusal{problem{out.code, status.Message}}
}

// answer takes what the API answers, as an http.ResponseWriter.
type answer struct {
	header http.Header
	code   int
	body   bytes.Buffer
	over   bool
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(code int) {
	if a.code == 0 {
		a.code = code
	}
}

func (a *answer) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if a.body.Len()+len(p) > maxAnswer {
		a.over = true
		return 0, errors.New("the answer is too large")
	}
	return a.body.Write(p)
}

// refuse answers with what a call of the API has failed with.
func (d *Dashboard) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refused := (*refusal)(nil)
	if !errors.As(err, &refused) {
		refused = &refusal{problem{http.StatusInternalServerError, err.Error()}}
	}
	d.fail(w, r, refused.problem)
}
