package caddyapoxy

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// throughTimeout bounds the reading of one record while not all are read.
const throughTimeout = 2 * time.Second

// readHost reads a hostname's record from the store; nil: there is none, or it cannot be
// read. The hostname is borrowed.
func (rt *runtime) readHost(hostname string) *hosts.Host {
	ctx, cancel := context.WithTimeout(rt.ctx, throughTimeout)
	defer cancel()
	ctx, _ = store.AllowStale(ctx, 0)
	key := apiserver.HostnamePrefix + hostname
	named, _, err := rt.store.Get(ctx, key)
	if err == nil {
		var e store.KeyValue
		if e, _, err = rt.store.Get(ctx, hosts.Prefix+string(named.Value)); err == nil {
			var h *hosts.Host
			if h, err = hosts.Decode(e); err == nil && h.Hostname == hostname {
				return h
			}
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		rt.logger.Debug("a record could not be read before all are", zap.String("key", key), zap.Error(err))
	}
	return nil
}
