package apiserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kjson "sigs.k8s.io/json"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// apply answers a server-side apply: PATCH with an apply configuration, in
// which every field named is one that the manager wants to own.
func (c *call) apply(body []byte, o writeOptions) error {
	config, err := c.readConfiguration(body, o.validation)
	if err != nil {
		return err
	}
	r, what, err := c.applyConfiguration(c.r.Context(), config, o)
	switch {
	case err != nil:
		return err
	case what == outcomeCreated:
		return c.sendRecord(http.StatusCreated, r)
	}
	return c.sendRecord(http.StatusOK, r)
}

// What an apply has made of a record.
const (
	outcomeCreated    = "created"
	outcomeConfigured = "configured"
	outcomeUnchanged  = "unchanged"
)

// applyConfiguration applies to the record of the call's name, or creates it.
func (c *call) applyConfiguration(ctx context.Context, config map[string]any, o writeOptions) (r *v1alpha3.DomainRecord, what string, err error) {
	for {
		if r, what, err = c.applyToLive(ctx, config, o); !apierrors.IsNotFound(err) || c.sub != "" {
			return r, what, err
		}
		if r, err = c.applyNew(ctx, config, o); !errors.Is(err, errNameTaken) || ctx.Err() != nil {
			return r, outcomeCreated, err
		}
		// Another request created the record in between: apply to that.
	}
}

// readConfiguration decodes an apply configuration. It stays a tree, because a
// Go struct would add fields that nobody named.
func (c *call) readConfiguration(body []byte, validation string) (map[string]any, error) {
	data, strict, err := fromYAML(body, c.s.objectBounds())
	if err != nil {
		return nil, err
	}
	typed, more, err := decodeStrict(data)
	if err != nil {
		return nil, err
	}
	if err := checkSizes(nil, typed); err != nil {
		return nil, err
	}
	if err := c.complain(validation, append(strict, more...)); err != nil {
		return nil, err
	}
	if err := checkType(typed.TypeMeta); err != nil {
		return nil, err
	}
	if err := checkName(&typed.Name, c.name); err != nil {
		return nil, err
	}
	if c.sub == "" {
		if err := refuseNulls(c.name, data); err != nil {
			return nil, err
		}
	}
	var config map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(data, &config); err != nil || config == nil {
		return nil, apierrors.NewBadRequest("decoding the apply configuration: it must be an object")
	}
	if len(strict)+len(more) > 0 || bytes.Contains(data, []byte("null")) { // else there is nothing to prune
		prune(config, v1alpha3.SchemaPrefix+v1alpha3.Kind)
	}
	u := unstructured.Unstructured{Object: config}
	u.SetGroupVersionKind(v1alpha3.GroupVersionKind)
	u.SetName(typed.Name)
	unstructured.RemoveNestedField(config, "metadata", "creationTimestamp")
	normalizeConfiguration(config)
	return config, c.alive()
}

// normalizeConfiguration brings spec.name and the hostname of a redirect into the form
// that is kept, so that two spellings of one hostname are no conflict.
func normalizeConfiguration(config map[string]any) {
	spec, ok := config["spec"].(map[string]any)
	if !ok {
		return
	}
	if name, ok := spec["name"].(string); ok {
		if n, err := v1alpha3.NormalizeHostname(name); err == nil {
			spec["name"] = n
		}
	}
	if redirect, ok := at(spec, []string{"target", "redirect"}); ok {
		if name, ok := redirect["hostname"].(string); ok {
			if n, err := v1alpha3.NormalizeRedirectHostname(name); err == nil {
				redirect["hostname"] = n
			}
		}
	}
}

func (c *call) applyToLive(ctx context.Context, config map[string]any, o writeOptions) (r *v1alpha3.DomainRecord, what string, err error) {
	before := ""
	r, err = c.s.mutate(ctx, c.name, o.dryRun, func(live *v1alpha3.DomainRecord) (*v1alpha3.DomainRecord, error) {
		before = live.ResourceVersion
		next, err := c.s.managers.apply(live, config, c.sub, o.manager, o.force)
		if err != nil {
			return nil, c.errApply(err)
		}
		if err := checkSizes(live, next); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return next, c.s.settle(live, next, c.sub, o.manager, true)
	})
	if err == nil && r.ResourceVersion == before && !o.dryRun {
		return r, outcomeUnchanged, nil
	}
	return r, outcomeConfigured, err
}

func (c *call) applyNew(ctx context.Context, config map[string]any, o writeOptions) (*v1alpha3.DomainRecord, error) {
	u := unstructured.Unstructured{Object: config}
	if uid := u.GetUID(); uid != "" {
		return nil, apierrors.NewConflict(v1alpha3.GroupResource, c.name, fmt.Errorf(
			"uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	}
	if u.GetResourceVersion() != "" {
		return nil, apierrors.NewNotFound(v1alpha3.GroupResource, c.name)
	}
	r, err := c.s.managers.apply(nil, config, c.sub, o.manager, o.force)
	if err != nil {
		return nil, c.errApply(err)
	}
	managed := r.ManagedFields
	clearSystemFields(r)
	r.ManagedFields = managed
	v1alpha3.Default(r)
	return c.s.insert(ctx, r, o)
}

// errApply tells a client's fault from the server's: what the field manager
// cannot merge is a configuration that does not fit the schema.
func (c *call) errApply(err error) error {
	var known apierrors.APIStatus
	if errors.As(err, &known) {
		return err
	}
	return apierrors.NewBadRequest("applying the configuration: " + err.Error())
}
