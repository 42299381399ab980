package certstorage

import (
	"context"
	"fmt"
	"io/fs"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// listPage is how many values are read at a time. They come whole, whatever is asked.
const listPage = 128

// pastAll follows every key: they are UTF-8, which has no such byte.
const pastAll = "\xff"

// List implements certmagic.Storage as a file system does: folders are listed, too, and
// of a value nothing is.
func (s *Storage) List(ctx context.Context, folder string, recursive bool) ([]string, error) {
	at, err := clean(folder)
	if err != nil {
		return nil, err
	}
	info, err := s.stat(ctx, at)
	if is[*unusableError](err) {
		info.IsTerminal, err = true, nil
	}
	if err == nil && !info.IsTerminal {
		var keys []string
		if keys, err = s.list(ctx, at, recursive); err == nil && len(keys) == 0 && at != "" {
			err = fs.ErrNotExist // it went meanwhile
		}
		if err == nil {
			return keys, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("listing %q: %w", folder, err)
	}
	return nil, nil
}

func (s *Storage) list(ctx context.Context, at string, recursive bool) ([]string, error) {
	if at != "" {
		at += "/"
	}
	l := listing{folder: at, recursive: recursive}
	o := store.ListOptions{Limit: listPage}
	for {
		page, err := s.o.Store.List(ctx, Prefix+at, o)
		if err != nil {
			return nil, err
		}
		for _, kv := range page.KeyValues {
			if !s.lost(kv.Value) {
				l.add(strings.TrimPrefix(kv.Key, Prefix))
			}
		}
		if !page.More {
			return l.keys, nil
		}
		o.After = max(Prefix+l.after, page.KeyValues[len(page.KeyValues)-1].Key)
	}
}

// listing collects what is in a folder from keys in their order.
type listing struct {
	folder    string // with its slash; the root is ""
	recursive bool

	keys  []string
	last  string // the key before
	after string // what all keys that can still matter come after
}

func (l *listing) add(key string) {
	rest := strings.TrimPrefix(key, l.folder)
	l.after = key
	for i := range rest {
		if rest[i] != '/' {
			continue
		}
		inner := l.folder + rest[:i]
		if !strings.HasPrefix(l.last, inner+"/") {
			l.keys = append(l.keys, inner)
		}
		if !l.recursive {
			l.last, l.after = key, inner+"/"+pastAll
			return
		}
	}
	l.keys, l.last = append(l.keys, key), key
}
