package apiserver

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"

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

// withoutNulls is a patcher that refuses an outcome with such a null. A stored record
// has none, so the patch put it there.
func (c *call) withoutNulls(apply patcher) patcher {
	return func(ctx context.Context, live []byte) ([]byte, error) {
		out, err := apply(ctx, live)
		if err != nil {
			return nil, err
		}
		return out, refuseNulls(c.name, out)
	}
}

// validateManifest refuses a manifest in kubectl's annotation that has such a null,
// unless the annotation was the same before. kubectl's client-side apply leaves nulls
// out of what it creates and turns them into removals in its patches, so only the
// manifest that it sends along shows that somebody wrote null.
func validateManifest(annotations map[string]string, was string) field.ErrorList {
	text := annotations[lastApplied]
	if text == was {
		return nil
	}
	errs := v1alpha3.NullSwitches([]byte(text))
	for _, err := range errs {
		err.Detail += " (it is null in the manifest that is applied, which the annotation " + lastApplied + " holds)"
	}
	return errs
}
