package issuance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/issuance/ownchain"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// uploadTimeout is the time for changing one upload, waiting for its lock included.
const uploadTimeout = 15 * time.Second

var (
	// ErrNoUpload means that there is no upload to remove.
	ErrNoUpload = errors.New("no certificate was uploaded")
	// ErrNoIssuers means that no storage is known, because no issuer apoxy is configured.
	ErrNoIssuers = errors.New("no site has `issuer apoxy`, so there is no storage to keep certificates in")
)

// TakeUpload keeps a customer's own certificate for the record of a hostname, in place of
// any other, and has it shown from then on while the record is verified. It returns once
// it is in storage and in the store.
func (s *Scheduler) TakeUpload(ctx context.Context, hostname, uid string, chain ownchain.Chain) error {
	leaf := chain.Certificates[0]
	u := upload{
		UID: uid, Sum: certfiles.SumOf(chain.Certificates), Issuer: issuerName(leaf, "unknown"), Serial: fmt.Sprintf("%x", leaf.SerialNumber),
		NotBefore: leaf.NotBefore.Unix(), NotAfter: leaf.NotAfter.Unix(), At: s.now().Unix(),
	}
	u.Renewal = uploadRenewal(leaf.NotBefore, leaf.NotAfter, hostname+u.Serial).Unix()
	err := s.changingUpload(ctx, hostname, func(ctx context.Context, storages []certmagic.Storage) error {
		file := u.file(hostname)
		for _, st := range storages {
			if err := certfiles.SaveUpload(ctx, st, file, chain.Certificates, chain.Key); err != nil {
				return err
			}
		}
		revision, err := s.cfg.Store.Write(ctx, store.Op{Key: UploadPrefix + hostname, Value: u.marshal(), If: store.Any})
		if err != nil {
			if old := s.entries.uploadOf(hostname); old != nil {
				file = old.file(hostname)
			}
			s.tidyUploads(ctx, storages, hostname, file)
			return fmt.Errorf("writing the index of uploads: %w", err)
		}
		kept := u
		s.entries.learnUpload(hostname, &kept, revision)
		s.tidyUploads(ctx, storages, hostname, file)
		return nil
	})
	if err != nil {
		return fmt.Errorf("keeping the certificate uploaded for %s: %w", hostname, err)
	}
	s.log.Info("a customer's own certificate was uploaded", zap.String("hostname", hostname), zap.String("serial", u.Serial), zap.Time("not_after", leaf.NotAfter))
	s.cfg.OnChange(hostname)
	return nil
}

// DropUpload removes the customer's own certificate of a record, from storage, too. The
// error is ErrNoUpload if it has none.
func (s *Scheduler) DropUpload(ctx context.Context, hostname, uid string) error {
	if !s.HasUpload(hostname, uid) {
		return ErrNoUpload
	}
	revision, err := s.removeUpload(ctx, hostname, func(have *upload) bool { return have.UID == uid })
	if err != nil {
		return fmt.Errorf("removing the certificate uploaded for %s: %w", hostname, err)
	}
	s.entries.endUpload(hostname, revision)
	s.log.Info("a customer's own certificate was removed", zap.String("hostname", hostname))
	s.cfg.OnChange(hostname)
	return nil
}

// HasUpload reports whether a certificate was uploaded for a record.
func (s *Scheduler) HasUpload(hostname, uid string) bool {
	u := s.entries.uploadOf(hostname)
	return u != nil && u.UID == uid
}

// SweepUploads removes the uploads whose records are no more: those that were deleted
// while nobody was there to see it. lives tells whether a hostname has a record with this
// uid. It waits until the index is read.
func (s *Scheduler) SweepUploads(ctx context.Context, lives func(hostname, uid string) bool) {
	if _, err := s.Indexed(ctx); err != nil {
		return
	}
	for _, hostname := range s.entries.uploads() {
		u := s.entries.uploadOf(hostname)
		if u == nil || s.now().Sub(times.Unix(u.At)) < time.Minute || lives(hostname, u.UID) {
			continue
		}
		if err := s.DropUpload(ctx, hostname, u.UID); err != nil && !errors.Is(err, ErrNoUpload) {
			s.log.Warn("the uploaded certificate of a record that is no more could not be removed; it is tried again at the next start", zap.Error(err))
		}
	}
}

// removeUpload removes the upload of a hostname from storage and from the store, if the
// store has one that is meant. It returns the store's revision of that, or 0.
func (ts *tools) removeUpload(ctx context.Context, hostname string, meant func(*upload) bool) (revision int64, err error) {
	key := UploadPrefix + hostname
	err = ts.changingUpload(ctx, hostname, func(ctx context.Context, storages []certmagic.Storage) error {
		kv, _, err := ts.cfg.Store.Get(ctx, key) // memory may not have heard of another node's yet
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading the index of uploads: %w", err)
		}
		if _, u, err := decodeUpload(key, kv.Value); err != nil || !meant(&u) {
			return err
		}
		var errs []error
		for _, st := range storages {
			errs = append(errs, certfiles.DropUploads(ctx, st, hostname))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if revision, err = ts.cfg.Store.Write(ctx, store.Op{Key: key, If: kv.Revision}); err != nil {
			return fmt.Errorf("writing the index of uploads: %w", err)
		}
		return nil
	})
	return revision, err
}

// changingUpload does something under the lock of a hostname's uploads, which all nodes
// share. ctx of do ends after uploadTimeout, and not before.
func (ts *tools) changingUpload(ctx context.Context, hostname string, do func(ctx context.Context, storages []certmagic.Storage) error) error {
	storages := ts.storages()
	if len(storages) == 0 {
		return ErrNoIssuers
	}
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	unlock, err := certfiles.LockUploads(ctx, storages[0], hostname)
	if err != nil {
		return err
	}
	defer func() {
		if err := unlock(); err != nil {
			ts.log.Error("unlocking in storage failed", zap.String("hostname", hostname), zap.Error(err))
		}
	}()
	done, cancelDo := context.WithTimeout(context.WithoutCancel(ctx), uploadTimeout)
	defer cancelDo()
	return do(done, storages)
}

// storages are those of the configuration's issuers, each once: mostly one.
func (ts *tools) storages() (out []certmagic.Storage) {
	var names []string
	for _, c := range ts.authorities() {
		name := mountOf([]*ca{{CA: c.CA, cfg: c.cfg}})
		name = name[len(c.Key):]
		if c.cfg != nil && !slices.Contains(names, name) {
			names, out = append(names, name), append(out, certfiles.Unwrap(c.Storage()))
		}
	}
	return out
}

// tidyUploads removes what is in storage of earlier uploads of a hostname.
func (ts *tools) tidyUploads(ctx context.Context, storages []certmagic.Storage, hostname string, kept certfiles.Upload) {
	for _, st := range storages {
		if err := certfiles.DropUploads(ctx, st, hostname, kept); err != nil {
			ts.log.Warn("removing an uploaded certificate that was replaced failed; the next upload removes it", zap.String("hostname", hostname), zap.Error(err))
		}
	}
}

// storedUpload looks whether storage has the upload of a hostname, and notes if that is
// news. A storage that fails says nothing.
func (s *Scheduler) storedUpload(ctx context.Context, hostname string) {
	u := s.entries.uploadOf(hostname)
	if u == nil || !s.now().Before(times.Unix(u.NotAfter)) || s.inventory.mute(s.now()) {
		return
	}
	storages := s.storages()
	if len(storages) == 0 {
		return
	}
	_, err := within(ctx, s.inventory.asking, func(ctx context.Context) (struct{}, error) {
		_, err := certfiles.LoadUpload(ctx, storages[0], u.file(hostname))
		return struct{}{}, err
	})
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing || missing == (u.Lost != 0) || ctx.Err() != nil {
		return
	}
	next := *u
	next.Lost, next.Warned = 0, u.Warned
	if missing {
		next.Lost = s.now().Unix()
		s.log.Error("the certificate that a customer uploaded is not in storage any more; one is obtained in its place where that can succeed",
			zap.String("hostname", hostname), zap.String("expected", u.file(hostname).Key()), zap.String("storage", certfiles.NameOf(storages[0])))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storedTimeout)
	defer cancel()
	revision, err := s.cfg.Store.Write(ctx, store.Op{Key: UploadPrefix + hostname, Value: next.marshal(), If: u.revision})
	if err == nil && s.entries.learnUpload(hostname, &next, revision) {
		s.cfg.OnChange(hostname)
	}
}

// UploadMissing implements certfiles.Index.
func (s *Scheduler) UploadMissing(u certfiles.Upload) {
	if have := s.entries.uploadOf(u.Hostname); have == nil || have.Sum != u.Sum || !s.inventory.again(u.Hostname, s.now()) {
		return
	}
	time.AfterFunc(storedPause, func() { s.storedUpload(context.Background(), u.Hostname) })
}
