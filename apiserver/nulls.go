package apiserver

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// lastApplied is the annotation in which kubectl keeps the manifest that was
// applied last, as it was written.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// refuseNulls refuses a record's JSON in which null stands where the presence of
// an object decides.
func refuseNulls(name string, record []byte) error {
	if errs := v1alpha3.NullSwitches(record); len(errs) > 0 {
		return invalid(name, errs)
	}
	return nil
}

// withoutNulls is a patcher whose outcome has no such null. A record has none
// itself, so that the patch put it there.
func (c *call) withoutNulls(apply patcher) patcher {
	return func(ctx context.Context, live []byte) ([]byte, error) {
		out, err := apply(ctx, live)
		if err != nil {
			return nil, err
		}
		return out, refuseNulls(c.name, out)
	}
}

// refuseNullManifest refuses the merge patch that kubectl makes of a manifest with
// such a null. In the patch itself null removes, as it may; but kubectl sends the
// manifest along, in its annotation, and there null is what somebody wrote.
func (c *call) refuseNullManifest(patch map[string]any) error {
	text, _, err := unstructured.NestedString(patch, "metadata", "annotations", lastApplied)
	if err != nil {
		return nil // of another type, for the decoder to name
	}
	return refuseNulls(c.name, []byte(text))
}
