package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// followRecord hands each over the record as it is, nil while it does not
// exist, and then after every change, until each is done or ctx ends.
func (c *client) followRecord(ctx context.Context, name string, each func(*v1alpha3.DomainRecord) (done bool, err error)) error {
	query := listQuery{fields: "metadata.name=" + name}
	return c.follow(ctx, follower{
		query: query, patience: time.Duration(1<<63 - 1), // ctx says when to give up
		begin: func(ctx context.Context) (string, bool, error) {
			list, err := c.list(ctx, query)
			if err != nil {
				return "", false, err
			}
			var r *v1alpha3.DomainRecord
			if len(list.Items) > 0 {
				if r, err = toRecord(&list.Items[0]); err != nil {
					return "", false, err
				}
			}
			done, err := each(r)
			return list.GetResourceVersion(), done, err
		},
		each: func(ch change) (bool, error) {
			if ch.Type == watch.Deleted {
				return each(nil)
			}
			r := &v1alpha3.DomainRecord{}
			if err := json.Unmarshal(ch.Object, r); err != nil {
				return true, fmt.Errorf("reading the record %q: %w", name, err)
			}
			return each(r)
		},
	})
}

// waitGone returns once the record of that uid, or with an empty uid of any, no
// longer exists.
func (c *client) waitGone(ctx context.Context, name string, uid types.UID) error {
	err := c.followRecord(ctx, name, func(r *v1alpha3.DomainRecord) (bool, error) {
		return r == nil || uid != "" && r.UID != uid, nil
	})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
