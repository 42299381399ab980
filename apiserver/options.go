package apiserver

import (
	"strings"
	"unicode"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// writeOptions are the query parameters of create, update and patch.
type writeOptions struct {
	manager    string
	validation string
	dryRun     bool
	force      bool
}

// writeOptions reads and checks them; kind is what errors call them, patch the
// media type of a patch.
func (c *call) writeOptions(kind string, patch types.PatchType) (writeOptions, error) {
	var o metav1.PatchOptions
	if err := metav1.Convert_url_Values_To_v1_PatchOptions(&c.query, &o, nil); err != nil {
		return writeOptions{}, apierrors.NewBadRequest("reading the query parameters: " + err.Error())
	}
	if patch == "" {
		o.Force = nil // means nothing to create and update
	}
	if errs := metav1validation.ValidatePatchOptions(&o, patch); len(errs) > 0 {
		return writeOptions{}, errOptions(kind, errs)
	}
	w := writeOptions{
		manager:    o.FieldManager,
		validation: o.FieldValidation,
		dryRun:     len(o.DryRun) > 0,
		force:      o.Force != nil && *o.Force,
	}
	if w.manager == "" {
		w.manager = managerOf(c.r.UserAgent())
	}
	return w, nil
}

func errOptions(kind string, errs field.ErrorList) error {
	return apierrors.NewInvalid(schema.GroupKind{Group: metav1.GroupName, Kind: kind}, "", errs)
}

// managerOf is the field manager of a client that names none: its User-Agent
// up to the slash.
func managerOf(userAgent string) string {
	name, _, _ := strings.Cut(userAgent, "/")
	name = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, name)
	for len(name) > metav1validation.FieldManagerMaxLength {
		name = name[:len(name)-1]
	}
	return strings.ToValidUTF8(name, "")
}
