package apiserver

import (
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// What Config.Revoke may wrap: the first is answered with 409, the second with 400.
var (
	ErrNoCertificate    = errors.New("there is no certificate to revoke")
	ErrRevocationReason = errors.New("the reason for the revocation is not known")
)

// revoke answers POST …/domainrecords/NAME/revoke?reason=REASON: it has the
// certificate of the record revoked at its CA and answers with the record. Who names the
// record's uid or resourceVersion in the query is answered with 409 if it has another.
func (c *call) revoke() error {
	var err error
	if c.media, err = negotiate(c.r, objectOffers, false); err != nil {
		return err
	}
	if _, err := c.readBody(); err != nil {
		return err
	}
	ctx := c.r.Context()
	r, _, err := c.s.load(ctx, c.name)
	if err != nil {
		return err
	}
	if err := checkDeletePreconditions(r, c.preconditions()); err != nil {
		return err
	}
	if c.s.cfg.Revoke == nil {
		return apierrors.NewServiceUnavailable("nothing here revokes certificates: issuance is not running")
	}
	reason := c.query.Get("reason")
	if reason == "" {
		reason = "unspecified"
	}
	err = c.s.cfg.Revoke(ctx, r.Spec.Name, reason)
	switch {
	case errors.Is(err, ErrRevocationReason):
		return apierrors.NewBadRequest(err.Error())
	case errors.Is(err, ErrNoCertificate):
		return apierrors.NewConflict(v1alpha3.GroupResource, c.name, err)
	case err != nil:
		return fmt.Errorf("revoking the certificate of record %q: %w", c.name, err)
	}
	if r, _, err = c.s.load(ctx, c.name); err != nil {
		return err
	}
	return c.sendRecord(http.StatusOK, r)
}

// preconditions are those that a query names.
func (c *call) preconditions() *metav1.Preconditions {
	var p metav1.Preconditions
	if uid := types.UID(c.query.Get("uid")); uid != "" {
		p.UID = &uid
	}
	if version := c.query.Get("resourceVersion"); version != "" {
		p.ResourceVersion = &version
	}
	return &p
}
