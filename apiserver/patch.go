package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	kjson "sigs.k8s.io/json"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// patcher makes the next state of a record, as JSON, out of its JSON. It is
// called again if another write came between, and ends with ctx.
type patcher func(ctx context.Context, live []byte) (patched []byte, err error)

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
		apply, duplicates, err = c.s.jsonPatch(body)
	} else {
		apply, duplicates, err = c.s.mergePatch(body)
	}
	if err != nil {
		return err
	}
	if c.sub == "" {
		apply = c.withoutNulls(apply)
	}
	return c.patchWith(apply, duplicates, o)
}

func (c *call) patchWith(apply patcher, duplicates []error, o writeOptions) error {
	var strict []error
	ctx := c.r.Context()
	r, err := c.s.mutate(ctx, c.name, o.dryRun, func(live *v1alpha3.DomainRecord) (*v1alpha3.DomainRecord, error) {
		next, unknown, err := c.s.patched(ctx, live, apply)
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
		if err := ctx.Err(); err != nil {
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

// patched decodes what a patch makes of a record, within the bounds of a body;
// what a record already has too much of does not stand in the way of its mend.
func (s *Server) patched(ctx context.Context, live *v1alpha3.DomainRecord, apply patcher) (*v1alpha3.DomainRecord, []error, error) {
	before := *live
	before.ManagedFields = readable(live.ManagedFields)
	raw, err := json.Marshal(&before)
	if err != nil {
		return nil, nil, fmt.Errorf("encoding record %q: %w", live.Name, err)
	}
	if raw, err = apply(ctx, raw); err != nil {
		return nil, nil, err
	}
	if err := weigh(raw, bounds{content: 2 * s.cfg.Limits.Record, values: maxPatchedValues, members: maxMembers}); err != nil {
		return nil, nil, err
	}
	next, unknown, err := decodeStrict(raw)
	if err != nil {
		return nil, nil, err
	}
	return next, unknown, checkSizes(live, next)
}

// jsonPatch reads a patch by RFC 6902.
func (s *Server) jsonPatch(body []byte) (patcher, []error, error) {
	v, duplicates, err := decodePatch(body, s.patchBounds())
	if err != nil {
		return nil, nil, err
	}
	list, ok := v.([]any)
	if !ok {
		return nil, nil, apierrors.NewBadRequest("decoding the JSON patch: it must be a list of operations")
	}
	ops := make([]patchOp, len(list))
	for i := range list {
		if ops[i], err = patchOpOf(list[i]); err != nil {
			return nil, nil, errPatch(fmt.Errorf("operation %d: %w", i, err))
		}
	}
	return func(ctx context.Context, live []byte) ([]byte, error) {
		return changed(live, func(root any) (any, error) {
			out, err := applyPatch(ctx, root, ops)
			if err != nil && ctx.Err() == nil {
				err = errPatch(err)
			}
			return out, err
		})
	}, duplicates, nil
}

// errPatch is the answer to a JSON patch that does not apply.
func errPatch(err error) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusUnprocessableEntity,
		Reason:  metav1.StatusReasonInvalid,
		Message: "the JSON patch does not apply: " + err.Error(),
	}}
}

// mergePatch reads a patch by RFC 7396.
func (s *Server) mergePatch(body []byte) (patcher, []error, error) {
	patch, duplicates, err := decodePatch(body, s.objectBounds())
	if err != nil {
		return nil, nil, err
	}
	if _, ok := patch.(map[string]any); !ok {
		return nil, nil, apierrors.NewBadRequest("decoding the merge patch: it must be a JSON object")
	}
	return func(_ context.Context, live []byte) ([]byte, error) {
		return changed(live, func(root any) (any, error) { return mergeJSON(root, patch), nil })
	}, duplicates, nil
}

// changed is live with a change made to its tree.
func changed(live []byte, change func(root any) (any, error)) ([]byte, error) {
	var root any
	err := kjson.UnmarshalCaseSensitivePreserveInts(live, &root)
	if err != nil {
		return nil, fmt.Errorf("decoding the record that is patched: %w", err)
	}
	if root, err = change(root); err != nil {
		return nil, err
	}
	out, err := json.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("encoding the patched record: %w", err)
	}
	return out, nil
}

// decodePatch decodes a patch within its bounds, and returns apart what it says
// twice.
func decodePatch(body []byte, b bounds) (v any, duplicates []error, err error) {
	if err := weigh(body, b); err != nil {
		return nil, nil, err
	}
	if duplicates, err = kjson.UnmarshalStrict(body, &v, kjson.DisallowDuplicateFields); err != nil {
		return nil, nil, apierrors.NewBadRequest("decoding the patch: " + err.Error())
	}
	return v, duplicates, nil
}
