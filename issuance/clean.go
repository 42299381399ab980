package issuance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// This file removes from storage what is of no use any more. It does so whenever a
// hostname is worked on, because finding the same by listing storage would read a million
// certificates. Files are removed before the index is written, so that after a crash
// between the two the index still tells of them.

// cleanTimeout is the time for cleaning up after one hostname.
const cleanTimeout = 15 * time.Second

// dropRetry is the pause before a deletion that failed is repeated.
const dropRetry = time.Hour

// clean removes what a job has made useless: private keys of orders that are finished or
// given up, and the certificate that one of another CA has replaced. before and after
// are the dossier before the job and as it will be written.
func (j *job) clean(ctx context.Context, before, after *dossier) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	ordered := j.ordered
	if before.Order != nil {
		ordered = append(slices.Clone(ordered), before.Order.CA)
	}
	for _, key := range ordered {
		if after.Order == nil || after.Order.CA != key {
			o := before.Order
			j.removed(j.dropOrder(ctx, key, o.AtWork(key) && o.Method != "")) // then its challenge was left in place
		}
	}
	if before.has() && after.has() && before.CA != after.CA {
		_, err := j.discard(ctx, before)
		j.removed(err)
	}
}

// drop deletes the expired certificate of a hostname without a record, or one that was
// issued for another owner's record, and what an order for it has left behind.
func (j *job) drop(ctx context.Context) landing {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	storage := j.cas[0].Storage()
	locked, err := certfiles.TryLock(ctx, storage, j.hostname)
	if err != nil {
		j.removed(err)
		return landing{rec: j.rec, again: dropRetry, unchanged: true}
	}
	if !locked { // another node works on it, so it is wanted again there
		return landing{rec: j.rec, again: time.Minute, unchanged: true}
	}
	defer func() { j.removed(certfiles.Unlock(ctx, storage, j.hostname)) }()
	var errs []error
	if j.rec.has() {
		kept, err := j.discard(ctx, &j.rec)
		if errs = append(errs, err); kept {
			j.log.Info("a certificate was renewed by another issuer and is left alone", zap.String("hostname", j.hostname), zap.String("ca", j.rec.CA))
		}
	}
	if o := j.rec.Order; o != nil {
		errs = append(errs, j.dropOrder(ctx, o.CA, true))
	}
	if err := errors.Join(errs...); err != nil {
		j.removed(err)
		return landing{rec: j.rec, again: dropRetry, unchanged: true}
	}
	if j.step == stepDisown {
		j.evict(j.hostname)
		return landing{rec: dossier{Trouble: j.rec.Trouble}, save: true, looked: true, unchanged: true}
	}
	return landing{save: true, unchanged: true}
}

// discard removes the certificate that a dossier names, with its OCSP staples. A stored
// one that ends later than the dossier says was put there by another, such as Caddy's
// own issuer, and is kept. It is an error if storage cannot tell which one it has.
func (j *job) discard(ctx context.Context, r *dossier) (kept bool, err error) {
	var errs []error
	for _, site := range j.sites(r.CA) {
		have, err := site.Load(ctx)
		if err == nil && have.Leaf.NotAfter.Unix() > r.NotAfter {
			kept = true
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("looking for a later certificate of %s: %w", r.CA, err))
			continue
		}
		errs = append(errs, site.Delete(ctx))
	}
	return kept, errors.Join(errs...)
}

// dropOrder removes the private key that an order at a CA left in storage, and its
// challenge if that is still there.
func (j *job) dropOrder(ctx context.Context, issuerKey string, challenge bool) error {
	var errs []error
	for _, site := range j.sites(issuerKey) {
		keys := []string{site.OrderKey()}
		if challenge {
			keys = append(keys, site.ChallengeKey())
		}
		errs = append(errs, certfiles.DeleteKeys(ctx, site.Storage, keys))
	}
	return errors.Join(errs...)
}

// removed logs the error of removing something; nil: none.
func (j *job) removed(err error) {
	if err != nil {
		j.log.Warn("removing from storage what is of no use any more failed", zap.String("hostname", j.hostname), zap.Error(err))
	}
}

// sites are where a CA may have files of the hostname: in the storage of the issuer
// line that names the CA or, if none does any more, in those of all lines.
func (j *job) sites(issuerKey string) []certfiles.Site {
	var all []certfiles.Site
	for _, c := range j.authorities() {
		site := certfiles.At(c.Storage(), issuerKey, j.hostname)
		if c.Key == issuerKey {
			return []certfiles.Site{site}
		}
		all = append(all, site)
	}
	return all
}
