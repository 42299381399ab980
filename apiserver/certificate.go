package apiserver

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

const (
	typePEM = "application/x-pem-file"
	// maxCertificateBody bounds the body of a PUT to the subresource certificate, in
	// bytes.
	maxCertificateBody = 64 << 10
	// secretType is the type of a Secret that holds a certificate.
	secretType = "kubernetes.io/tls"
	// The fields of a Secret of that type.
	secretCertificate = "tls.crt"
	secretKey         = "tls.key"
)

// Certificate is a customer's own certificate as it was sent.
type Certificate struct {
	// Chain and Key are PEM, unchecked. Where they came in one text both are the whole.
	Chain, Key []byte
	// Untrusted: a root that clients do not know is taken.
	Untrusted bool
	// DryRun: everything is checked, and nothing kept.
	DryRun bool
}

// Certificates keeps customers' own certificates.
type Certificates interface {
	// Upload keeps one for a record, in place of any other. The error is an
	// *InvalidCertificate if it is not taken, and may wrap ErrUnavailable.
	Upload(ctx context.Context, r *v1alpha3.DomainRecord, c Certificate) error
	// Remove removes that of a record, unless dryRun. The error is ErrNoUpload if there
	// is none.
	Remove(ctx context.Context, r *v1alpha3.DomainRecord, dryRun bool) error
}

var (
	// ErrNoUpload is answered with 404.
	ErrNoUpload = errors.New("no certificate was uploaded")
	// ErrUnavailable is answered with 503.
	ErrUnavailable = errors.New("not possible now")
)

// InvalidCertificate says what is wrong with a Certificate. It is answered with 422.
type InvalidCertificate struct {
	// Field is certificate or key; Seen is what was seen there, never any part of a key,
	// and may be empty; Expect is what was expected, with the mend.
	Field, Seen, Expect string
}

func (e *InvalidCertificate) Error() string { return e.Field + ": " + e.Seen + ": " + e.Expect }

// certificate answers PUT and DELETE …/domainrecords/NAME/certificate with the record.
func (c *call) certificate() error {
	var err error
	if c.media, err = negotiate(c.r, objectOffers, false); err != nil {
		return err
	}
	o, err := c.writeOptions("UpdateOptions", "")
	if err != nil {
		return err
	}
	sent := Certificate{DryRun: o.dryRun}
	if c.r.Method == http.MethodPut {
		if err := c.readCertificate(&sent); err != nil {
			return err
		}
	} else if _, err := c.readBody(); err != nil {
		return err
	}
	ctx := c.r.Context()
	r, _, err := c.s.load(ctx, c.name)
	if err != nil {
		return err
	}
	if c.s.cfg.Certificates == nil {
		return apierrors.NewServiceUnavailable("nothing here keeps certificates: issuance is not running")
	}
	if c.r.Method == http.MethodDelete {
		err = c.s.cfg.Certificates.Remove(ctx, r, o.dryRun)
	} else if !r.WantsTLS() {
		return apierrors.NewInvalid(v1alpha3.GroupVersionKind.GroupKind(), c.name, field.ErrorList{
			field.Required(field.NewPath("spec", "tls"), "the record is HTTP-only and shows no certificate: set spec.tls to {} first"),
		})
	} else {
		err = c.s.cfg.Certificates.Upload(ctx, r, sent)
	}
	if err != nil {
		return certificateError(c.name, err)
	}
	if r, _, err = c.s.load(ctx, c.name); err != nil {
		return err
	}
	return c.sendRecord(http.StatusOK, r)
}

func certificateError(name string, err error) error {
	invalid := (*InvalidCertificate)(nil)
	switch {
	case errors.As(err, &invalid):
		detail := field.Invalid(field.NewPath(invalid.Field), field.OmitValueType{}, invalid.Expect)
		if invalid.Seen != "" {
			detail.Detail = invalid.Seen + ": " + invalid.Expect
		}
		return apierrors.NewInvalid(v1alpha3.GroupVersionKind.GroupKind(), name, field.ErrorList{detail})
	case errors.Is(err, ErrNoUpload):
		return apierrors.NewNotFound(v1alpha3.GroupResource, name+"/certificate")
	case errors.Is(err, ErrUnavailable):
		return apierrors.NewServiceUnavailable(err.Error())
	}
	return fmt.Errorf("keeping the certificate of record %q: %w", name, err)
}

// readCertificate reads the body of a PUT.
func (c *call) readCertificate(out *Certificate) error {
	switch v := c.query.Get("untrusted"); v {
	case "", "false", "0":
	case "true", "1":
		out.Untrusted = true
	default:
		return apierrors.NewBadRequest(fmt.Sprintf("untrusted: %.40q: expected true or false", v))
	}
	typ := bodyType(c.r)
	if c.r.Header.Get("Content-Type") == "" || typ != typePEM && typ != typeJSON {
		return errUnsupportedMedia(typePEM, typeJSON)
	}
	data, err := c.readBodyOf(maxCertificateBody)
	if err != nil {
		return err
	}
	if typ == typePEM {
		out.Chain, out.Key = data, data
		return nil
	}
	return decodeSecret(data, out)
}

// readBodyOf is readBody with a bound of its own, in bytes.
func (c *call) readBodyOf(limit int64) ([]byte, error) {
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(c.s.cfg.Limits.BodyRead)) // as readBody
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", limit))
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errSlowBody(c.s.cfg.Limits.BodyRead)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest("reading the body: " + err.Error())
	}
	return data, nil
}

// decodeSecret reads a Secret of type kubernetes.io/tls. What the decoder says of one
// that is none is left out, because it might quote a key.
func decodeSecret(data []byte, out *Certificate) error {
	var secret struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Type       string            `json:"type"`
		Data       map[string][]byte `json:"data"`
		StringData map[string]string `json:"stringData"`
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if d.Decode(&secret) != nil || d.More() {
		return apierrors.NewBadRequest("decoding the body: expected one Secret in JSON, of type " + secretType + ", with " + secretCertificate + " and " + secretKey + " in data, in base64")
	}
	if secret.APIVersion != "v1" || secret.Kind != "Secret" {
		return apierrors.NewBadRequest(fmt.Sprintf("the body is %.60q %.60q: expected a Secret of v1, or PEM with the Content-Type %s", secret.APIVersion, secret.Kind, typePEM))
	}
	if secret.Type != "" && secret.Type != secretType {
		return certificateError("", &InvalidCertificate{"type", fmt.Sprintf("%.60q", secret.Type), "expected " + secretType})
	}
	get := func(name string) []byte {
		if v, ok := secret.StringData[name]; ok {
			return []byte(v)
		}
		return secret.Data[name]
	}
	out.Chain, out.Key = get(secretCertificate), get(secretKey)
	return nil
}
