package apiserver

import (
	"encoding/json"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// get answers GET …/domainrecords/NAME[/status].
func (c *call) get() error {
	var err error
	if c.media, err = negotiate(c.r, objectOffers, false); err != nil {
		return err
	}
	atLeast, err := parseRevision(c.query.Get("resourceVersion"))
	if err != nil {
		return err
	}
	if atLeast > 0 {
		if err := c.s.reached(c.r.Context(), atLeast); err != nil {
			return err
		}
	}
	ctx, stale := store.AllowStale(c.r.Context(), stalePatience)
	r, _, err := c.s.load(ctx, c.name)
	c.warnStale(stale)
	if err != nil {
		return err
	}
	return c.sendRecord(http.StatusOK, r)
}

// check answers POST …/domainrecords/NAME/check: it has the record looked at
// now and answers with what is stored afterwards.
func (c *call) check() error {
	var err error
	if c.media, err = negotiate(c.r, objectOffers, false); err != nil {
		return err
	}
	if _, err := c.readBody(); err != nil {
		return err
	}
	ctx := c.r.Context()
	if _, _, err := c.s.load(ctx, c.name); err != nil {
		return err
	}
	if c.s.cfg.Check == nil {
		return apierrors.NewServiceUnavailable("nothing here looks at records: the controller is not running")
	}
	if err := c.s.cfg.Check(ctx, c.name); err != nil {
		return fmt.Errorf("checking record %q: %w", c.name, err)
	}
	r, _, err := c.s.load(ctx, c.name)
	if err != nil {
		return err
	}
	return c.sendRecord(http.StatusOK, r)
}

// sendRecord writes one record in the negotiated form.
func (c *call) sendRecord(code int, r *v1alpha3.DomainRecord) error {
	switch c.media.as {
	case asTable:
		include, err := c.includeObject()
		if err != nil {
			return err
		}
		t := c.s.tableHead(c.media, true)
		t.ResourceVersion = r.ResourceVersion
		row, err := c.s.tableRow(r, c.media, include)
		if err != nil {
			return err
		}
		t.Rows = []metav1.TableRow{row}
		return c.send(code, t)
	case asMetadata:
		return c.send(code, partial(r, c.media))
	}
	data, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding record %q: %w", r.Name, err)
	}
	return c.sendJSON(code, data)
}
