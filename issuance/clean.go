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

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// This file removes from storage what is of no use any more. It does so hostname
// by hostname, as the scheduler comes by, because a sweep that finds the same by
// listing everything reads a million certificates. What is removed goes first
// and the index is written after it, so that a crash between the two leaves a
// hint to it in the index.

// cleanTimeout bounds the cleaning after one hostname.
const cleanTimeout = 15 * time.Second

// dropRetry is the pause before a deletion that failed is tried again.
const dropRetry = time.Hour

// clean removes what a piece of work has made useless, given what the index
// knew before and will know: keys of orders that were given up or fulfilled,
// and the certificate of a CA that another one took the place of.
func (j *job) clean(ctx context.Context, before, after *dossier) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	ordered := j.ordered
	if before.Order != nil {
		ordered = append(slices.Clone(ordered), before.Order.CA)
	}
	for _, key := range ordered {
		if after.Order == nil || after.Order.CA != key {
			keys := []string{certfiles.OrderKey(key, j.hostname)}
			if o := before.Order; o.AtWork(key) && o.Method != "" { // its challenge was left in place
				keys = append(keys, certfiles.ChallengeKey(key, j.hostname))
			}
			j.removed(j.delete(ctx, key, keys...))
		}
	}
	if before.has() && after.has() && before.CA != after.CA {
		_, err := j.discard(ctx, before)
		j.removed(err)
	}
}

// drop deletes the expired certificate of a hostname without a record, or the
// one that was issued for another owner's record, and whatever an order for it
// has left behind.
func (j *job) drop(ctx context.Context) landing {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	storage := j.cas[0].Storage()
	locked, err := certfiles.TryLock(ctx, storage, j.hostname)
	if err != nil {
		j.removed(err)
		return landing{rec: j.rec, again: dropRetry, quiet: true}
	}
	if !locked { // another node, where the hostname is wanted again
		return landing{rec: j.rec, again: time.Minute, quiet: true}
	}
	defer func() { j.removed(certfiles.Unlock(ctx, storage, j.hostname)) }()
	var errs []error
	if j.rec.has() {
		kept, err := j.discard(ctx, &j.rec)
		if errs = append(errs, err); kept {
			j.log.Info("a certificate was renewed by somebody else and is left alone", zap.String("hostname", j.hostname), zap.String("ca", j.rec.CA))
		}
	}
	if o := j.rec.Order; o != nil {
		errs = append(errs, j.delete(ctx, o.CA, certfiles.OrderKey(o.CA, j.hostname)), j.delete(ctx, o.CA, certfiles.ChallengeKey(o.CA, j.hostname)))
	}
	if err := errors.Join(errs...); err != nil {
		j.removed(err)
		return landing{rec: j.rec, again: dropRetry, quiet: true}
	}
	if j.step == stepDisown {
		j.evict()
		return landing{rec: dossier{Trouble: j.rec.Trouble}, save: true, looked: true, quiet: true}
	}
	return landing{save: true, quiet: true}
}

// discard removes the certificate that a dossier names, and its OCSP staples.
// One that lasts longer than the dossier says was put there by somebody else,
// such as Caddy's own issuer: it is kept. So is, with an error, one that storage
// does not show at the moment.
func (j *job) discard(ctx context.Context, r *dossier) (kept bool, err error) {
	var errs []error
	for _, st := range j.storages(r.CA) {
		have, err := certfiles.Load(ctx, st, r.CA, j.hostname)
		if err == nil && have.Leaf.NotAfter.Unix() > r.NotAfter {
			kept = true
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("looking for a later certificate of %s: %w", r.CA, err))
			continue
		}
		staples := certfiles.Staples(ctx, st, r.CA, j.hostname)
		errs = append(errs, certfiles.Delete(ctx, st, r.CA, j.hostname), certfiles.DeleteKeys(ctx, st, staples))
	}
	return kept, errors.Join(errs...)
}

func (j *job) delete(ctx context.Context, issuerKey string, keys ...string) error {
	var errs []error
	for _, st := range j.storages(issuerKey) {
		errs = append(errs, certfiles.DeleteKeys(ctx, st, keys))
	}
	return errors.Join(errs...)
}

// removed logs what could not be removed.
func (j *job) removed(err error) {
	if err != nil {
		j.log.Warn("removing from storage what is of no use any more failed", zap.String("hostname", j.hostname), zap.Error(err))
	}
}

// storages are where a CA's part of storage may be: that of the issuer line
// that names it or, if none does any more, those of all.
func (j *job) storages(issuerKey string) []certmagic.Storage {
	var all []certmagic.Storage
	for _, c := range j.authorities() {
		if c.Key == issuerKey {
			return []certmagic.Storage{c.Storage()}
		}
		all = append(all, c.Storage())
	}
	return all
}
