package apiserver

import (
	"encoding/json"
	"fmt"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// maxPatchOperations bounds a JSON patch, as in Kubernetes.
const maxPatchOperations = 10_000

func init() {
	// A patch may copy a value onto itself again and again; the library keeps
	// the bound on what that adds up to in a variable.
	jsonpatch.AccumulatedCopySizeLimit = 3 << 20
}

// patcher makes the next state of a record out of its JSON. It is called again
// if another write came between.
type patcher func(live []byte) (patched []byte, err error)

// patch answers PATCH …/domainrecords/NAME[/status].
func (c *call) patch() error {
	c.verb = "patch"
	typ := bodyType(c.r)
	switch typ {
	case typeJSONP, typeMerge, typeApply:
	default:
		return errUnsupportedMedia(typeJSONP, typeMerge, typeApply)
	}
	o, err := c.writeOptions("PatchOptions", types.PatchType(typ))
	if err != nil {
		return err
	}
	if c.media, err = negotiate(c.r, objectOffers, false); err != nil {
		return err
	}
	body, err := c.readBody()
	if err != nil {
		return err
	}
	if typ == typeApply {
		return c.apply(body, o)
	}
	var duplicates []error
	var apply patcher
	if typ == typeJSONP {
		apply, duplicates, err = jsonPatch(body)
	} else {
		apply, duplicates, err = mergePatch(body)
	}
	if err != nil {
		return err
	}
	return c.patchWith(apply, duplicates, o)
}

func (c *call) patchWith(apply patcher, duplicates []error, o writeOptions) error {
	var strict []error
	r, err := c.s.mutate(c.r.Context(), c.name, o.dryRun, func(live *v1alpha3.DomainRecord) (*v1alpha3.DomainRecord, error) {
		raw, err := json.Marshal(live)
		if err != nil {
			return nil, fmt.Errorf("encoding record %q: %w", live.Name, err)
		}
		if raw, err = apply(raw); err != nil {
			return nil, err
		}
		next, unknown, err := decodeStrict(raw)
		if err != nil {
			return nil, err
		}
		strict = append(duplicates[:len(duplicates):len(duplicates)], unknown...)
		if err := refuse(o.validation, strict); err != nil {
			return nil, err
		}
		if err := checkType(next.TypeMeta); err != nil {
			return nil, err
		}
		if err := checkName(&next.Name, c.name); err != nil {
			return nil, err
		}
		return next, c.s.settle(live, next, c.sub, o.manager, false)
	})
	if err != nil {
		return err
	}
	c.warnAll(o.validation, strict)
	return c.sendRecord(http.StatusOK, r)
}

// jsonPatch reads a patch by RFC 6902.
func jsonPatch(body []byte) (patcher, []error, error) {
	duplicates, err := findDuplicates(body)
	if err != nil {
		return nil, nil, err
	}
	p, err := jsonpatch.DecodePatch(body)
	if err != nil {
		return nil, nil, apierrors.NewBadRequest("decoding the JSON patch: " + err.Error())
	}
	if len(p) > maxPatchOperations {
		return nil, nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"The allowed maximum operations in a JSON patch is %d, got %d", maxPatchOperations, len(p)))
	}
	return func(live []byte) ([]byte, error) {
		out, err := p.Apply(live)
		if err != nil {
			return nil, apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "",
				schema.GroupResource{}, "", err.Error(), 0, false)
		}
		return out, nil
	}, duplicates, nil
}

// mergePatch reads a patch by RFC 7396.
func mergePatch(body []byte) (patcher, []error, error) {
	duplicates, err := findDuplicates(body)
	if err != nil {
		return nil, nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(body, &object); err != nil || object == nil {
		return nil, nil, apierrors.NewBadRequest("decoding the merge patch: it must be a JSON object")
	}
	return func(live []byte) ([]byte, error) {
		out, err := jsonpatch.MergePatch(live, body)
		if err != nil {
			return nil, apierrors.NewBadRequest("applying the merge patch: " + err.Error())
		}
		return out, nil
	}, duplicates, nil
}

// findDuplicates returns what a patch says twice; it is JSON of any shape.
func findDuplicates(body []byte) ([]error, error) {
	var v any
	strict, err := kjson.UnmarshalStrict(body, &v, kjson.DisallowDuplicateFields)
	if err != nil {
		return nil, apierrors.NewBadRequest("decoding the patch: " + err.Error())
	}
	return strict, nil
}
