package apiserver

import (
	"context"
	"net/url"
	"strconv"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/pager"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// client-go's pager walks through many records by a selector, page by page as
// kubectl does, while others write as fast as they can. It sees every record that
// was there all the while, exactly once, and never has to begin anew.
func TestAPagerSeesEveryRecordWhileOthersWrite(t *testing.T) {
	w := newWorld(t, withHistory(t, 8))
	const records = 3*chunk + 7
	w.fill(records)

	ctx, stop := context.WithCancel(t.Context())
	var writers sync.WaitGroup
	written := make(chan struct{}, 1)
	for i := range 2 {
		writers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				op := store.Op{Key: "other/" + strconv.Itoa(i), Value: []byte(strconv.Itoa(n)), If: store.Any}
				if _, err := w.s.cfg.Store.Write(ctx, op); err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				select {
				case written <- struct{}{}:
				default:
				}
			}
		})
	}
	defer writers.Wait()
	defer stop()

	seen := map[string]int{}
	p := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
		for range 12 { // more is written before each page than is remembered
			<-written
		}
		query := url.Values{"fieldSelector": {o.FieldSelector}, "limit": {strconv.FormatInt(o.Limit, 10)}, "continue": {o.Continue}}
		return w.call("GET", base+"?"+query.Encode(), "").want(200).list(), nil
	})
	p.PageSize, p.FullListIfExpired = 100, false
	err := p.EachListItem(t.Context(), metav1.ListOptions{FieldSelector: "spec.target.ref.name=default"}, func(o runtime.Object) error {
		m, err := meta.Accessor(o)
		if err == nil {
			seen[m.GetName()]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != records {
		t.Errorf("%d records were seen, want %d", len(seen), records)
	}
	for name, n := range seen {
		if n != 1 {
			t.Errorf("%s was seen %d times", name, n)
		}
	}
}
