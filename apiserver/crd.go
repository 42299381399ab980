package apiserver

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// DomainRecord is described as a CustomResourceDefinition, read-only: Terraform
// and some GitOps tools look there for what a cluster serves and refuse to plan
// without it.
var (
	crdGroup = schema.GroupVersion{Group: "apiextensions.k8s.io", Version: "v1"}

	crdResources = []metav1.APIResource{{
		Name: crdPlural, SingularName: "customresourcedefinition", Kind: crdKind,
		Verbs: metav1.Verbs{"get", "list", "watch"}, ShortNames: []string{"crd", "crds"},
	}}
)

const (
	crdKind   = "CustomResourceDefinition"
	crdPlural = "customresourcedefinitions"
	crdName   = v1alpha3.Resource + "." + v1alpha3.Group
)

// crdRevision is the resourceVersion of what never changes.
const crdRevision = "1"

// newCRD describes DomainRecord with its schema written out, as a CRD has it.
func newCRD() map[string]any {
	names := map[string]any{
		"plural": v1alpha3.Resource, "singular": v1alpha3.Singular, "kind": v1alpha3.Kind,
		"listKind": v1alpha3.ListKind, "shortNames": []string{v1alpha3.ShortName}, "categories": []string{"all"},
	}
	root := inline(v1alpha3.OpenAPISchemas()[v1alpha3.SchemaPrefix+v1alpha3.Kind], v1alpha3.OpenAPISchemas())
	root.Extensions = nil
	root.Properties["metadata"] = spec.Schema{SchemaProps: spec.SchemaProps{Type: []string{"object"}}}
	condition := func(kind, reason, message string) map[string]any {
		return map[string]any{"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": "2026-01-01T00:00:00Z"}
	}
	return map[string]any{
		"kind": crdKind, "apiVersion": crdGroup.String(),
		"metadata": map[string]any{
			"name": crdName, "uid": "6d1c3f0e-7f0a-4c58-9a53-0d9f1f2f6b11", "resourceVersion": crdRevision,
			"generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
		},
		"spec": map[string]any{
			"group": v1alpha3.Group, "scope": "Cluster", "names": names,
			"conversion": map[string]any{"strategy": "None"},
			"versions": []any{map[string]any{
				"name": v1alpha3.Version, "served": true, "storage": true,
				"schema":       map[string]any{"openAPIV3Schema": root},
				"subresources": map[string]any{"status": map[string]any{}},
				"selectableFields": []any{
					map[string]any{"jsonPath": "." + v1alpha3.FieldHostname},
					map[string]any{"jsonPath": "." + v1alpha3.FieldTargetKind},
					map[string]any{"jsonPath": "." + v1alpha3.FieldTargetName},
					map[string]any{"jsonPath": "." + v1alpha3.FieldPhase},
				},
			}},
		},
		"status": map[string]any{
			"acceptedNames": names, "storedVersions": []string{v1alpha3.Version},
			"conditions": []any{
				condition("NamesAccepted", "NoConflicts", "no conflicts found"),
				condition("Established", "InitialNamesAccepted", "the initial names have been accepted"),
			},
		},
	}
}

// inline returns a copy of a schema with all references written out.
func inline(s *spec.Schema, all map[string]*spec.Schema) spec.Schema {
	out := *resolve(s, all)
	if s.Description != "" {
		out.Description = s.Description
	}
	if out.Properties != nil {
		properties := make(map[string]spec.Schema, len(out.Properties))
		for k, p := range out.Properties {
			properties[k] = inline(&p, all)
		}
		out.Properties = properties
	}
	if out.Items != nil && out.Items.Schema != nil {
		items := inline(out.Items.Schema, all)
		out.Items = &spec.SchemaOrArray{Schema: &items}
	}
	if out.AdditionalProperties != nil && out.AdditionalProperties.Schema != nil {
		values := inline(out.AdditionalProperties.Schema, all)
		out.AdditionalProperties = &spec.SchemaOrBool{Allows: true, Schema: &values}
	}
	return out
}

func (c *call) getCRD() error {
	var err error
	if c.media, err = negotiate(c.r, []offer{{asMetadata, "meta.k8s.io", metaVersions}}, false); err != nil {
		return err
	}
	return c.sendJSON(http.StatusOK, c.crdItem())
}

// crdItem is the description, or its metadata alone if that was asked for.
func (c *call) crdItem() []byte {
	if c.media.as != "" {
		return fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,"metadata":%s}`, asMetadata, c.media.apiVersion(), c.s.docs.crdMeta)
	}
	return c.s.docs.crd
}

// listCRDs answers a list, or a watch in which nothing ever happens.
func (c *call) listCRDs() error {
	o, err := c.crdOptions()
	if err != nil {
		return err
	}
	offers := []offer{{asMetadataList, "meta.k8s.io", metaVersions}}
	if o.Watch {
		offers = append(offers, offer{asMetadata, "meta.k8s.io", metaVersions})
	}
	if c.media, err = negotiate(c.r, offers, o.Watch); err != nil {
		return err
	}
	item := c.crdItem()
	if o.Watch {
		return c.watchCRDs(o, item)
	}
	kind, version := crdKind+"List", crdGroup.String()
	if c.media.as != "" {
		kind, version = asMetadataList, c.media.apiVersion()
	}
	if !c.selectsCRD() {
		item = nil
	}
	return c.sendJSON(http.StatusOK, fmt.Appendf(nil,
		`{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":%q},"items":[%s]}`, kind, version, crdRevision, item))
}

func (c *call) crdOptions() (o listOptions, err error) {
	if err := metav1.Convert_url_Values_To_v1_ListOptions(&c.query, &o.ListOptions, nil); err != nil {
		return o, apierrors.NewBadRequest("reading the query parameters: " + err.Error())
	}
	return o, nil
}

func (c *call) selectsCRD() bool {
	sel, err := parseSelector(c.query.Get("labelSelector"), c.query.Get("fieldSelector"))
	if err != nil {
		return false
	}
	ok, err := sel.matches(c.s.docs.crd)
	return err == nil && ok
}

func (c *call) watchCRDs(o listOptions, item []byte) error {
	c.verb = "watch"
	release, err := c.admitWatch()
	if err != nil {
		return err
	}
	defer release()
	ctx, cancel := c.watchContext(o)
	defer cancel()
	s := newSink(c, o)
	defer s.close()
	if s.open() != nil {
		return nil // nobody is there to be told
	}
	if (o.ResourceVersion == "" || o.ResourceVersion == "0" || o.SendInitialEvents != nil && *o.SendInitialEvents) && c.selectsCRD() {
		if s.write(eventAdded, item) != nil {
			return nil // as above
		}
	}
	if o.SendInitialEvents != nil && o.AllowWatchBookmarks {
		mark := fmt.Appendf(nil, `{"kind":%q,"apiVersion":%q,"metadata":{"resourceVersion":%q,"annotations":{%q:"true"}}}`,
			crdKind, crdGroup.String(), crdRevision, initialEventsEnd)
		if s.write(eventBookmark, mark) != nil {
			return nil // as above
		}
	}
	if s.flush() == nil {
		<-ctx.Done()
	}
	return nil
}

func storageHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return base64.StdEncoding.EncodeToString(sum[:8])
}

func encodeCRD() (whole, meta []byte, err error) {
	crd := newCRD()
	if whole, err = json.Marshal(crd); err != nil {
		return nil, nil, fmt.Errorf("encoding the resource definition: %w", err)
	}
	meta, err = json.Marshal(crd["metadata"])
	return whole, meta, err
}
