package apiserver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/jsonscan"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

const (
	typeJSON  = "application/json"
	typeYAML  = "application/yaml"
	typeJSONP = "application/json-patch+json"
	typeMerge = "application/merge-patch+json"
	typeApply = "application/apply-patch+yaml"
)

var typeMeta = metav1.TypeMeta{Kind: v1alpha3.Kind, APIVersion: v1alpha3.GroupVersion.String()}

// readBody reads the request's body, up to the limit and for as long as a client
// may take.
func (c *call) readBody() ([]byte, error) {
	limit := c.s.cfg.Limits.Body
	// net/http lifts the deadline once the body is read. A writer without deadlines,
	// as in tests, returns an error, and the read goes on without one.
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(c.s.cfg.Limits.BodyRead))
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, limit))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errSlowBody(c.s.cfg.Limits.BodyRead)
	}
	if err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", limit))
		}
		return nil, apierrors.NewBadRequest("reading the body: " + err.Error())
	}
	return data, nil
}

// errSlowBody is the answer to a client that takes too long to send a body.
func errSlowBody(within time.Duration) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusRequestTimeout,
		Reason:  metav1.StatusReasonTimeout,
		Message: fmt.Sprintf("the body was not there within %s", within),
	}}
}

// alive returns an error once the client has gone: what it asked for is then
// given up between one step and the next.
func (c *call) alive() error { return c.r.Context().Err() }

// readObject reads a whole DomainRecord in JSON or YAML.
func (c *call) readObject(validation string) (*v1alpha3.DomainRecord, error) {
	typ := bodyType(c.r)
	if typ != typeJSON && typ != typeYAML {
		return nil, errUnsupportedMedia(typeJSON, typeYAML)
	}
	data, err := c.readBody()
	if err != nil {
		return nil, err
	}
	var strict []error
	if typ == typeYAML {
		data, strict, err = fromYAML(data, c.s.objectBounds())
	} else {
		err = weigh(data, c.s.objectBounds())
	}
	if err != nil {
		return nil, err
	}
	r, more, err := decodeStrict(data)
	if err != nil {
		return nil, err
	}
	if err := checkSizes(nil, r); err != nil {
		return nil, err
	}
	if err := c.complain(validation, append(strict, more...)); err != nil {
		return nil, err
	}
	if err := checkType(r.TypeMeta); err != nil {
		return nil, err
	}
	if c.sub == "" {
		if err := refuseNulls(r.Name, data); err != nil {
			return nil, err
		}
	}
	return r, c.alive()
}

// decodeStrict decodes a record's JSON. Unknown and duplicate fields are
// dropped and returned apart.
func decodeStrict(data []byte) (r *v1alpha3.DomainRecord, strict []error, err error) {
	r = new(v1alpha3.DomainRecord)
	if strict, err = kjson.UnmarshalStrict(data, r); err != nil {
		return nil, nil, errDecode(err)
	}
	return r, strict, nil
}

// errDecode is the answer to JSON that is no record: 422 with the field where
// a value has the wrong type, 400 where it is no JSON.
func errDecode(err error) error {
	var wrong *json.UnmarshalTypeError
	if errors.As(err, &wrong) && wrong.Field != "" {
		return apierrors.NewInvalid(v1alpha3.GroupVersionKind.GroupKind(), "", field.ErrorList{
			field.TypeInvalid(fieldPath(wrong.Field), cut(wrong.Value), "must be of type "+typeName(wrong.Type)),
		})
	}
	return apierrors.NewBadRequest("decoding the body: " + err.Error())
}

func fieldPath(dotted string) *field.Path {
	parts := strings.Split(dotted, ".")
	return field.NewPath(parts[0], parts[1:]...)
}

// typeName is the OpenAPI name of a Go type.
func typeName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Struct, reflect.Map, reflect.Interface:
		return "object"
	case reflect.Float32, reflect.Float64:
		return "number"
	}
	return "integer"
}

// complain treats unknown and duplicate fields as fieldValidation asks: refuse,
// warn (the default) or ignore.
func (c *call) complain(validation string, strict []error) error {
	if err := refuse(validation, strict); err != nil {
		return err
	}
	c.warnAll(validation, strict)
	return nil
}

// refuse is complain's first half: the error under Strict.
func refuse(validation string, strict []error) error {
	if len(strict) > 0 && validation == metav1.FieldValidationStrict {
		short := make([]error, len(strict))
		for i, e := range strict {
			short[i] = errors.New(cutTo(e.Error(), maxWarning))
		}
		return apierrors.NewBadRequest(strings.Join(append([]string{runtime.NewStrictDecodingError(short).Error()}, moversHints(strict)...), "; "))
	}
	return nil
}

// warnAll is its second half: the warnings unless they are to be ignored.
func (c *call) warnAll(validation string, strict []error) {
	if validation == metav1.FieldValidationIgnore {
		return
	}
	for _, e := range strict {
		c.warn(e.Error())
	}
	for _, hint := range moversHints(strict) {
		c.warn(hint)
	}
}

// checkType refuses objects of another kind; one that says nothing is taken
// for a DomainRecord, since only those are sent here.
func checkType(t metav1.TypeMeta) error { return checkTypeIs(t, typeMeta) }

// checkTypeIs refuses objects of another kind than is wanted; one that says
// nothing is taken for it.
func checkTypeIs(t, want metav1.TypeMeta) error {
	if v := t.APIVersion; v != "" && v != want.APIVersion {
		return apierrors.NewBadRequest(fmt.Sprintf("the API version in the data (%s) does not match the expected API version (%s)", v, want.APIVersion))
	}
	if k := t.Kind; k != "" && k != want.Kind {
		return apierrors.NewBadRequest(fmt.Sprintf("the kind in the data (%s) does not match the expected kind (%s)", k, want.Kind))
	}
	return nil
}

// decodeKeyValue reads a stored record and puts its revision in.
func decodeKeyValue(e store.KeyValue) (*v1alpha3.DomainRecord, error) {
	r, err := decodeStored(e.Value)
	if err != nil {
		return nil, fmt.Errorf("decoding the stored record %q: %w", e.Key, err)
	}
	r.TypeMeta = typeMeta
	r.ResourceVersion = formatRevision(e.Revision)
	return r, nil
}

var records = jsonscan.NewDecoder[v1alpha3.DomainRecord]()

// decodeStored decodes a record's JSON as the store has it.
func decodeStored(raw []byte) (*v1alpha3.DomainRecord, error) {
	r, ok := records.Decode(raw)
	if ok {
		return r, nil
	}
	r = new(v1alpha3.DomainRecord)
	return r, kjson.UnmarshalCaseSensitivePreserveInts(raw, r)
}

// encodeKeyValue is the form in which a record is stored: without its
// resourceVersion, which is the entry's revision.
func (s *Server) encodeKeyValue(r *v1alpha3.DomainRecord) ([]byte, error) {
	if err := checkTimes(r); err != nil {
		return nil, err
	}
	stored := *r
	stored.TypeMeta = typeMeta
	stored.ResourceVersion = ""
	data, err := json.Marshal(&stored)
	if err != nil {
		return nil, fmt.Errorf("encoding record %q: %w", r.Name, err)
	}
	if limit := s.cfg.Limits.Record; len(data) > limit {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("the record would have %d bytes, limit is %d", len(data), limit))
	}
	return data, nil
}
