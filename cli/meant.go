package cli

import (
	"context"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// meant returns the record that a manifest is about, nil if it is to be created:
// the one of its name or, if none has it, of its hostname, since there is one
// record for a hostname. The manifest then takes that record's name.
func (c *client) meant(ctx context.Context, m manifest) (*unstructured.Unstructured, error) {
	u, _, err := c.object(ctx, request{method: http.MethodGet, name: m.GetName()})
	if err == nil || !apierrors.IsNotFound(err) {
		return u, err
	}
	host, _, _ := unstructured.NestedString(m.Object, "spec", "name")
	found, err := c.byHostname(ctx, host)
	if err != nil {
		return nil, err
	}
	if found == nil || !sameOwner(m, found) {
		return nil, nil // of another owner's the server says what can be done
	}
	if m.named {
		fmt.Fprintf(c.warn, "warning: %s: the record of %s has the name %s, not %s, and stays under it\n",
			m.source, harmless(host), found.GetName(), m.GetName())
	}
	m.SetName(found.GetName())
	return found, nil
}

// sameOwner reports whether a manifest may mean a record that it does not name.
// One for another owner, or that asks to take a record's place, is a claim to the
// hostname, for the server to decide on. A manifest without a name that leaves the
// owner out leaves it as it is.
func sameOwner(m manifest, found *unstructured.Unstructured) bool {
	if m.GetAnnotations()[v1alpha3.ReplacesAnnotation] != "" {
		return false
	}
	owner, says := m.GetLabels()[v1alpha3.OwnerLabel]
	return owner == found.GetLabels()[v1alpha3.OwnerLabel] || !says && !m.named
}
