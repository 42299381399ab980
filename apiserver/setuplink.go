package apiserver

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// maxSetupLinkBody bounds the body of a POST to the subresource setuplink, in bytes.
const maxSetupLinkBody = 64 << 10

var setupLinkMeta = metav1.TypeMeta{Kind: v1alpha3.SetupLinkKind, APIVersion: v1alpha3.GroupVersion.String()}

// setupLink answers POST …/domainrecords/NAME/setuplink with a link to the customer's
// page of the record, bound to its uid, as Kubernetes answers a TokenRequest.
func (c *call) setupLink() error {
	var err error
	if c.media, err = negotiate(c.r, nil, false); err != nil {
		return err
	}
	asked, err := c.readSetupLink()
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	r, _, err := c.s.load(ctx, c.name)
	if err != nil {
		return err
	}
	if c.s.cfg.SetupLink == nil {
		return apierrors.NewServiceUnavailable("no site shows set-up pages: add `apoxy_setup { url https://setup.example.net }` to one")
	}
	lasts := *asked.ExpirationSeconds
	until := c.s.cfg.Now().UTC().Truncate(time.Second).Add(time.Duration(lasts) * time.Second)
	url, err := c.s.cfg.SetupLink(ctx, r, until)
	if errors.Is(err, ErrUnavailable) {
		return apierrors.NewServiceUnavailable(err.Error())
	}
	if err != nil {
		return fmt.Errorf("making a set-up link of record %q: %w", c.name, err)
	}
	ends := metav1.NewTime(until)
	return c.send(http.StatusCreated, &v1alpha3.SetupLink{
		TypeMeta: setupLinkMeta, ObjectMeta: metav1.ObjectMeta{Name: r.Name},
		ExpirationSeconds: &lasts,
		Status:            v1alpha3.SetupLinkStatus{URL: url, ExpirationTimestamp: &ends},
	})
}

// readSetupLink reads what is asked for; a body may be left out.
func (c *call) readSetupLink() (*v1alpha3.SetupLink, error) {
	data, err := c.readBodyOf(maxSetupLinkBody)
	if err != nil {
		return nil, err
	}
	asked := new(v1alpha3.SetupLink)
	if len(bytes.TrimSpace(data)) > 0 {
		if err := c.decodeSetupLink(data, asked); err != nil {
			return nil, err
		}
	}
	lasts := int64(v1alpha3.DefaultSetupLink)
	if asked.ExpirationSeconds == nil {
		asked.ExpirationSeconds = &lasts
	}
	if n := *asked.ExpirationSeconds; n < 1 || n > v1alpha3.MaxSetupLink {
		return nil, apierrors.NewInvalid(setupLinkKind, c.name, field.ErrorList{
			field.Invalid(field.NewPath("expirationSeconds"), n, fmt.Sprintf("expected 1 to %d seconds (90 days)", v1alpha3.MaxSetupLink)),
		})
	}
	return asked, c.alive()
}

var setupLinkKind = v1alpha3.GroupVersion.WithKind(v1alpha3.SetupLinkKind).GroupKind()

func (c *call) decodeSetupLink(data []byte, to *v1alpha3.SetupLink) error {
	typ := bodyType(c.r)
	if typ != typeJSON && typ != typeYAML {
		return errUnsupportedMedia(typeJSON, typeYAML)
	}
	var strict []error
	var err error
	if typ == typeYAML {
		data, strict, err = fromYAML(data, c.s.objectBounds())
	} else {
		err = weigh(data, c.s.objectBounds())
	}
	if err != nil {
		return err
	}
	more, err := kjson.UnmarshalStrict(data, to)
	if err != nil {
		return errDecode(err)
	}
	if err := c.complain(c.query.Get("fieldValidation"), append(strict, more...)); err != nil {
		return err
	}
	return checkTypeIs(to.TypeMeta, setupLinkMeta)
}
