package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"go.uber.org/zap"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// A stored record whose checksum does not hold, or which does not decode, is
// answered with 500 by everything that needs what is in it, left out of lists
// and watches, and deleted by name like any other.

// errUndecodable marks an error of decoding one stored record, over which lists
// and watches go on.
var errUndecodable = errors.New("a stored record does not decode")

// errDamaged is the answer to a call that needs a record which cannot be read.
// It wraps store.ErrDamaged and tells nothing of what is stored.
func errDamaged(name, reason string) error {
	e := apierrors.NewInternalError(fmt.Errorf("the stored value of %s %q is damaged: %s. "+
		"Delete the record by its name and create it again, or restore a backup; `caddy apoxy store verify` tells of all that is damaged",
		v1alpha3.GroupResource, name, reason))
	e.ErrStatus.Details.Name, e.ErrStatus.Details.Group, e.ErrStatus.Details.Kind = name, v1alpha3.Group, v1alpha3.Resource
	return errors.Join(e, store.ErrDamaged)
}

// damaged turns an error of the store about a record's value into an answer.
func damaged(name string, err error) error {
	reason := "its checksum does not hold"
	if d := (*store.DamagedError)(nil); errors.As(err, &d) {
		reason = d.Reason
	}
	return errDamaged(name, reason)
}

// undecodable tells the store, or else the log, of a value that does not decode.
func (s *Server) undecodable(key string, revision int64, err error) {
	if !store.Report(s.cfg.Store, key, revision, err) {
		s.log.Error("a stored record does not decode and is left out", zap.String("key", fmt.Sprintf("%.200q", key)),
			zap.Int64("revision", revision), zap.Error(err))
	}
}

// removeDamaged deletes a record that cannot be read and stands at rev, and
// frees its hostname. Who held the hostname last stays as it was remembered when
// that record was verified: nothing that the damaged value may say counts.
func (s *Server) removeDamaged(ctx context.Context, name string, rev int64, o *metav1.DeleteOptions) (*v1alpha3.DomainRecord, error) {
	live := &v1alpha3.DomainRecord{TypeMeta: typeMeta}
	live.Name, live.ResourceVersion = name, formatRevision(rev)
	if err := checkDeletePreconditions(live, o.Preconditions); err != nil {
		return nil, err // a uid too: it cannot be compared
	}
	ops := []store.Op{{Key: recordKey(name), If: rev}}
	held, err := s.heldBy(ctx, name)
	if err != nil {
		return nil, err
	}
	for _, e := range held {
		ops = append(ops, store.Op{Key: e.Key, If: e.Revision})
	}
	r, err := s.commit(ctx, live, len(o.DryRun) > 0, ops...)
	if err == nil && len(o.DryRun) == 0 {
		s.log.Warn("a damaged record was deleted by name", zap.String("name", name), zap.Int("hostnames", len(held)))
	}
	return r, err
}

// heldBy finds the entries of the hostnames that a record holds, when its own value
// cannot be read. Most records are named as their hostname; for others it looks at the
// entries of all hostnames.
func (s *Server) heldBy(ctx context.Context, name string) ([]store.KeyValue, error) {
	e, _, err := s.cfg.Store.Get(ctx, hostnameKey(name))
	if err == nil && string(e.Value) == name {
		return []store.KeyValue{e}, nil
	}
	var held []store.KeyValue
	err = s.scan(ctx, HostnamePrefix, func(e *store.KeyValue) bool {
		if e.Err == nil && string(e.Value) == name {
			held = append(held, *e)
		}
		return true
	})
	return held, err
}

// scan reads all entries below a prefix page by page and calls fn for each,
// until that returns false. It is for rare occasions.
func (s *Server) scan(ctx context.Context, prefix string, fn func(*store.KeyValue) bool) error {
	o := store.ListOptions{Limit: chunk}
	for {
		page, err := s.cfg.Store.List(ctx, prefix, o)
		if errors.Is(err, store.ErrExpired) && o.Revision > 0 {
			o.Revision = 0
			continue
		}
		if err != nil {
			return fmt.Errorf("looking through %s: %w", prefix, err)
		}
		for i := range page.KeyValues {
			if !fn(&page.KeyValues[i]) {
				return nil
			}
		}
		if !page.More {
			return nil
		}
		o.After, o.Revision = page.KeyValues[len(page.KeyValues)-1].Key, page.Revision
	}
}

// freed removes a hostname's entry if no record has the hostname: the entry names a
// record that does not exist (its key was damaged), or is damaged itself. The last
// verified holder stays remembered. It reports whether the hostname is free now.
func (s *Server) freed(ctx context.Context, hostname string) bool {
	e, _, err := s.cfg.Store.Get(ctx, hostnameKey(hostname))
	ops := []store.Op{{Key: hostnameKey(hostname), If: e.Revision}}
	switch {
	case errors.Is(err, store.ErrDamaged):
		if claimed, err := s.claimed(ctx, hostname); err != nil || claimed {
			return false
		}
	case err != nil:
		return false
	default:
		holder := recordKey(string(e.Value))
		if _, _, err := s.cfg.Store.Get(ctx, holder); !errors.Is(err, store.ErrNotFound) {
			return false
		}
		ops = append(ops, store.Op{Key: holder, If: store.Absent, Check: true})
	}
	if _, err := s.cfg.Store.Write(ctx, ops...); err != nil {
		return false
	}
	s.log.Warn("a hostname's entry that belonged to no record was removed", zap.String("hostname", hostname))
	return true
}

// claimed reports whether a record has the hostname, whose own entry is damaged, or
// may have it because that record is damaged too.
func (s *Server) claimed(ctx context.Context, hostname string) (bool, error) {
	claimed := false
	err := s.scan(ctx, recordPrefix, func(e *store.KeyValue) bool {
		var name string
		claimed = e.Err != nil || readMember(e.Value, &name, "spec", "name") != nil || name == "" || name == hostname
		return !claimed
	})
	return claimed, err
}

// nameOnly is what can be told of a deleted record whose last state cannot be
// read: its name.
func nameOnly(key string) ([]byte, error) {
	raw, err := json.Marshal(struct {
		metav1.TypeMeta
		Metadata map[string]string `json:"metadata"`
	}{typeMeta, map[string]string{"name": strings.TrimPrefix(key, recordPrefix)}})
	if err != nil {
		return nil, fmt.Errorf("encoding the name of a record: %w", err)
	}
	return raw, nil
}
