package caddyapoxy

import (
	"context"
	"time"

	"github.com/caddyserver/certmagic"
)

// This file hands certmagic's calls on to the storage once it is open.

// String names the storage in logs and messages.
func (s *Storage) String() string {
	if name := s.name.Load(); name != nil {
		return *name
	}
	return "storage apoxy"
}

// Store implements certmagic.Storage.
func (s *Storage) Store(ctx context.Context, key string, value []byte) error {
	in, err := s.use()
	if err != nil {
		return err
	}
	return in.Store(ctx, key, value)
}

// Load implements certmagic.Storage.
func (s *Storage) Load(ctx context.Context, key string) ([]byte, error) {
	in, err := s.use()
	if err != nil {
		return nil, err
	}
	return in.Load(ctx, key)
}

// Delete implements certmagic.Storage.
func (s *Storage) Delete(ctx context.Context, key string) error {
	in, err := s.use()
	if err != nil {
		return err
	}
	return in.Delete(ctx, key)
}

// Exists implements certmagic.Storage.
func (s *Storage) Exists(ctx context.Context, key string) bool {
	in, err := s.use()
	return err == nil && in.Exists(ctx, key)
}

// List implements certmagic.Storage.
func (s *Storage) List(ctx context.Context, path string, recursive bool) ([]string, error) {
	in, err := s.use()
	if err != nil {
		return nil, err
	}
	return in.List(ctx, path, recursive)
}

// Stat implements certmagic.Storage.
func (s *Storage) Stat(ctx context.Context, key string) (certmagic.KeyInfo, error) {
	in, err := s.use()
	if err != nil {
		return certmagic.KeyInfo{}, err
	}
	return in.Stat(ctx, key)
}

// Lock implements certmagic.Locker.
func (s *Storage) Lock(ctx context.Context, name string) error {
	in, err := s.use()
	if err != nil {
		return err
	}
	return in.Lock(ctx, name)
}

// TryLock implements certmagic.TryLocker.
func (s *Storage) TryLock(ctx context.Context, name string) (bool, error) {
	in, err := s.use()
	if err != nil {
		return false, err
	}
	return in.(certmagic.TryLocker).TryLock(ctx, name) // both have it
}

// Unlock implements certmagic.Locker.
func (s *Storage) Unlock(ctx context.Context, name string) error {
	in, err := s.use()
	if err != nil {
		return err
	}
	return in.Unlock(ctx, name)
}

// RenewLockLease implements certmagic.LockLeaseRenewer.
func (s *Storage) RenewLockLease(ctx context.Context, name string, d time.Duration) error {
	in, err := s.use()
	if err != nil {
		return err
	}
	if renewer, ok := in.(certmagic.LockLeaseRenewer); ok {
		return renewer.RenewLockLease(ctx, name, d)
	}
	return nil
}

// Interface guards
var (
	_ certmagic.Storage          = (*Storage)(nil)
	_ certmagic.TryLocker        = (*Storage)(nil)
	_ certmagic.LockLeaseRenewer = (*Storage)(nil)
)
