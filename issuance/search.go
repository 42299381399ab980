package issuance

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// search looks in storage for a certificate that the index does not know.
func (j *job) search(ctx context.Context) landing {
	found, err := j.adopt(ctx)
	if err != nil {
		j.log.Warn("searching storage failed and is tried again", zap.String("hostname", j.hostname), zap.Error(err))
		return landing{rec: j.rec, again: 10 * time.Second, unchanged: true}
	}
	if found {
		count(j.rec.CA, j.rec.Challenge, outcomeResumed)
	}
	return landing{rec: j.rec, save: found, looked: true}
}

// adopt takes over the newest certificate in storage, if it counts for the record and
// ends later than that of the dossier. Older ones of other CAs are deleted.
func (j *job) adopt(ctx context.Context) (bool, error) {
	var best certfiles.Stored
	var from *ca
	var all []certfiles.Stored
	for _, c := range j.cas {
		st, err := c.Site(j.hostname).Load(ctx)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false, err
		}
		all = append(all, st)
		if best.Leaf == nil || st.Leaf.NotAfter.After(best.Leaf.NotAfter) {
			best, from = st, c
		}
	}
	if best.Leaf == nil || best.Leaf.NotAfter.Unix() <= j.rec.floor(j.now()) || best.Leaf.VerifyHostname(verifiable(j.hostname)) != nil {
		return false, nil
	}
	p := best.Meta.Provenance
	if p == nil { // nobody knows for whom it was obtained
		return false, nil
	}
	w, method := j.want, p.Challenge
	w.UID, w.Owner = p.UID, p.Owner
	if !(&dossier{UID: w.UID, Owner: w.Owner}).proves(j.want) {
		return false, nil
	}
	j.rec.setCertificate(best.IssuerKey, method, w, best.Leaf, j.now())
	if info := best.Meta.RenewalInfo; info != nil {
		j.rec.setARI(info, j.now())
	}
	j.rec.schedule(j.hostname, from.ratio)
	for _, st := range all {
		if st.IssuerKey != best.IssuerKey { // outlived; the index does not know of it any more
			_, err := j.discard(ctx, &dossier{CA: st.IssuerKey, NotAfter: st.Leaf.NotAfter.Unix()})
			j.removed(err)
		}
	}
	return true, nil
}

// verifiable is a name that a certificate for the hostname must cover: of a wildcard any
// name below it.
func verifiable(hostname string) string {
	if rest, ok := strings.CutPrefix(hostname, "*."); ok {
		return "wildcard." + rest
	}
	return hostname
}
