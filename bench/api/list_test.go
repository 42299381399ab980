package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"
)

// list reads all records in pages and returns how long each page took; limit 0
// asks for everything in one answer.
func (w *world) list(ctx context.Context, buf *bytes.Buffer, limit int) (pages []time.Duration, err error) {
	path, items := "", 0
	if limit > 0 {
		path = fmt.Sprintf("?limit=%d", limit)
	}
	for next := path; ; {
		begun := time.Now()
		if err := w.call(ctx, buf, http.MethodGet, next, "", nil); err != nil {
			return nil, err
		}
		pages = append(pages, time.Since(begun))
		items += bytes.Count(buf.Bytes(), []byte(`"uid":`))
		token := continuation(buf.Bytes())
		if token == "" {
			break
		}
		next = path + "&continue=" + token
	}
	if items < records {
		return nil, fmt.Errorf("%d records listed, want %d", items, records)
	}
	return pages, nil
}

// continuation cuts the token of the next page out of a list.
func continuation(page []byte) string {
	_, rest, found := bytes.Cut(page, []byte(`"continue":"`))
	if !found {
		return ""
	}
	token, _, _ := bytes.Cut(rest, []byte(`"`))
	return string(token)
}

// BenchmarkList lists 100,000 records.
func BenchmarkList(b *testing.B) {
	w := newWorld(b)
	for _, limit := range []int{500, 0} {
		b.Run(fmt.Sprintf("limit=%d", limit), func(b *testing.B) {
			var buf bytes.Buffer
			if limit == 0 {
				buf.Grow(512 << 20)
			}
			var all []time.Duration
			for b.Loop() {
				pages, err := w.list(b.Context(), &buf, limit)
				if err != nil {
					b.Fatal(err)
				}
				all = append(all, pages...)
			}
			quantiles(b, all)
			b.ReportMetric(b.Elapsed().Seconds()/float64(b.N), "s/list")
			buf = bytes.Buffer{}
			b.ReportMetric(w.heapOf(b, func(get func(string, func(io.Reader) error) error) error {
				return walk(get, limit)
			}), "MiB-live")
		})
	}
}

// walk reads all records in pages, keeping nothing but the token of the next.
func walk(get func(string, func(io.Reader) error) error, limit int) error {
	path := ""
	if limit > 0 {
		path = fmt.Sprintf("?limit=%d", limit)
	}
	for next := path; ; {
		token := ""
		if err := get(next, func(answer io.Reader) error {
			// The token stands before the items.
			head := make([]byte, 1024)
			n, err := io.ReadFull(answer, head)
			if err != nil {
				return err
			}
			token = continuation(head[:n])
			_, err = io.Copy(io.Discard, answer)
			return err
		}); err != nil {
			return err
		}
		if token == "" {
			return nil
		}
		next = path + "&continue=" + token
	}
}
