package apiserver

import (
	"net/http"
	"strings"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

const (
	title = "caddy-apoxy"
	base  = "/apis/" + v1alpha3.Group + "/" + v1alpha3.Version + "/" + v1alpha3.Resource

	schemaRecord  = v1alpha3.SchemaPrefix + v1alpha3.Kind
	schemaList    = v1alpha3.SchemaPrefix + v1alpha3.ListKind
	schemaStatus  = v1alpha3.SchemaPrefixMeta + "Status"
	schemaDelete  = v1alpha3.SchemaPrefixMeta + "DeleteOptions"
	schemaLink    = v1alpha3.SchemaPrefix + v1alpha3.SetupLinkKind
	schemaPatch   = v1alpha3.SchemaPrefixMeta + "Patch"
	gvkExtension  = "x-kubernetes-group-version-kind"
	actExtension  = "x-kubernetes-action"
	acceptedTypes = "application/json application/yaml"
)

// operation is one verb at one path, from which both versions are written.
type operation struct {
	method, path string
	// action is what Kubernetes calls the verb; id ends the operationId.
	action, id, description string
	// body and answer are schema names; code the status of success.
	body, answer string
	code         string
	params       []parameter
	consumes     string
}

type parameter struct{ name, typ, description string }

var (
	paramReason     = parameter{"reason", "string", "Why, as RFC 5280 section 5.3.1 names it: unspecified (the default), keyCompromise, affiliationChanged, superseded or cessationOfOperation."}
	paramUntrusted  = parameter{"untrusted", "boolean", "Take a certificate whose root clients do not know by themselves."}
	paramPretty     = parameter{"pretty", "string", "If 'true', then the output is pretty printed."}
	paramDryRun     = parameter{"dryRun", "string", "When 'All', everything is checked and computed, and nothing is stored."}
	paramManager    = parameter{"fieldManager", "string", "The name of the actor or entity that makes these changes, at most 128 printable characters. Required for apply patches."}
	paramValidation = parameter{"fieldValidation", "string", "What to do about unknown and duplicate fields: Ignore, Warn (the default) or Strict."}
	paramForce      = parameter{"force", "boolean", "Take over fields that other managers own; for apply patches only."}
	paramVersion    = parameter{"resourceVersion", "string", "What the answer must not be older than, or begins after."}
	paramsWrite     = []parameter{paramPretty, paramDryRun, paramManager, paramValidation}
	paramsPatch     = append(append([]parameter{}, paramsWrite...), paramForce)
	paramsDelete    = []parameter{
		paramPretty, paramDryRun,
		{"gracePeriodSeconds", "integer", "Taken and without effect: records are deleted at once."},
		{"orphanDependents", "boolean", "Deprecated: use propagationPolicy."},
		{"propagationPolicy", "string", "Orphan, Background or Foreground; nothing depends on a record, so they do not differ."},
	}
	paramsList = []parameter{
		paramPretty,
		{"allowWatchBookmarks", "boolean", "Ask for watch events of type BOOKMARK."},
		{"continue", "string", "The token from an earlier page, to get the next one."},
		{"fieldSelector", "string", "Restrict the list by metadata.name, spec.name, spec.target.ref.kind and spec.target.ref.name."},
		{"labelSelector", "string", "Restrict the list by labels."},
		{"limit", "integer", "The most items of one page."},
		paramVersion,
		{"resourceVersionMatch", "string", "How resourceVersion is applied: Exact or NotOlderThan."},
		{"sendInitialEvents", "boolean", "Begin a watch with the present state, closed by a bookmark."},
		{"timeoutSeconds", "integer", "End the call after so many seconds."},
		{"watch", "boolean", "Get changes as they happen instead of a list."},
	}
	patchTypes = strings.Join([]string{typeJSONP, typeMerge, typeApply}, " ")
)

func operations() []operation {
	item, status, check, revoke := base+"/{name}", base+"/{name}/status", base+"/{name}/check", base+"/{name}/revoke"
	setupLink := base + "/{name}/setuplink"
	certificate, get := base+"/{name}/certificate", []parameter{paramPretty, paramVersion}
	return []operation{
		{http.MethodGet, base, "list", "list", "list or watch objects of kind DomainRecord", "", schemaList, "200", paramsList, ""},
		{http.MethodPost, base, "post", "create", "create a DomainRecord", schemaRecord, schemaRecord, "201", paramsWrite, acceptedTypes},
		{http.MethodDelete, base, "deletecollection", "deleteCollection", "delete a collection of DomainRecords", schemaDelete, schemaStatus, "200", append(append([]parameter{}, paramsList...), paramDryRun), acceptedTypes},
		{http.MethodGet, item, "get", "read", "read the specified DomainRecord", "", schemaRecord, "200", get, ""},
		{http.MethodPut, item, "put", "replace", "replace the specified DomainRecord", schemaRecord, schemaRecord, "200", paramsWrite, acceptedTypes},
		{http.MethodPatch, item, "patch", "patch", "partially update the specified DomainRecord", schemaPatch, schemaRecord, "200", paramsPatch, patchTypes},
		{http.MethodDelete, item, "delete", "delete", "delete a DomainRecord", schemaDelete, schemaStatus, "200", paramsDelete, acceptedTypes},
		{http.MethodGet, status, "get", "readStatus", "read the status of the specified DomainRecord", "", schemaRecord, "200", get, ""},
		{http.MethodPut, status, "put", "replaceStatus", "replace the status of the specified DomainRecord", schemaRecord, schemaRecord, "200", paramsWrite, acceptedTypes},
		{http.MethodPatch, status, "patch", "patchStatus", "partially update the status of the specified DomainRecord", schemaPatch, schemaRecord, "200", paramsPatch, patchTypes},
		{http.MethodPut, certificate, "put", "replaceCertificate", "show the customer's own certificate for the specified DomainRecord; the body is chain and key in PEM, or a Secret of type kubernetes.io/tls in JSON", schemaPatch, schemaRecord, "200", []parameter{paramPretty, paramDryRun, paramUntrusted}, typePEM + " " + typeJSON},
		{http.MethodDelete, certificate, "delete", "deleteCertificate", "remove the customer's own certificate of the specified DomainRecord", "", schemaRecord, "200", []parameter{paramPretty, paramDryRun}, ""},
		{http.MethodPost, check, "post", "check", "look at the specified DomainRecord now and answer with it", "", schemaRecord, "200", []parameter{paramPretty}, ""},
		{http.MethodPost, setupLink, "post", "createSetupLink", "make a link to the customer's set-up page of the specified DomainRecord", schemaLink, schemaLink, "201", []parameter{paramPretty, paramValidation}, acceptedTypes},
		{http.MethodPost, revoke, "post", "revoke", "revoke the certificate of the specified DomainRecord; while the record stands another one with a new key is obtained", "", schemaRecord, "200", []parameter{paramPretty, paramReason}, ""},
	}
}

func (o operation) operationID() string { return o.id + "CoreApoxyDevV1alpha3DomainRecord" }

// required reports whether a body must be sent.
func required(body string) bool { return body != schemaDelete && body != schemaLink }

// gvk is the kind that an operation acts on.
func (o operation) gvk() map[string]string {
	kind := v1alpha3.Kind
	if o.answer == schemaLink {
		kind = v1alpha3.SetupLinkKind
	}
	return map[string]string{"group": v1alpha3.Group, "version": v1alpha3.Version, "kind": kind}
}

// specV3 is the OpenAPI v3 document of the group version.
func specV3(version string) map[string]any {
	paths := map[string]any{}
	for _, o := range operations() {
		at := pathItem(paths, o.path, map[string]any{"name": "name", "in": "path", "required": true,
			"description": "name of the DomainRecord", "schema": map[string]any{"type": "string", "uniqueItems": true}})
		params := []any{}
		for _, p := range o.params {
			params = append(params, map[string]any{"name": p.name, "in": "query", "description": p.description,
				"schema": map[string]any{"type": p.typ, "uniqueItems": true}})
		}
		answer := map[string]any{"description": "OK", "content": contentV3("application/json application/yaml", o.answer)}
		op := map[string]any{
			"tags": []string{"coreApoxyDev_v1alpha3"}, "description": o.description, "operationId": o.operationID(),
			"parameters": params, "responses": map[string]any{o.code: answer},
			actExtension: o.action, gvkExtension: o.gvk(),
		}
		if o.body != "" {
			op["requestBody"] = map[string]any{"content": contentV3(o.consumes, o.body), "required": required(o.body)}
		}
		at[strings.ToLower(o.method)] = op
	}
	return map[string]any{
		"openapi":    "3.0.0",
		"info":       map[string]any{"title": title, "version": version},
		"paths":      paths,
		"components": map[string]any{"schemas": v1alpha3.OpenAPISchemas()},
	}
}

func contentV3(types, schema string) map[string]any {
	content := map[string]any{}
	for t := range strings.FieldsSeq(types) {
		content[t] = map[string]any{"schema": map[string]any{"$ref": "#/components/schemas/" + schema}}
	}
	return content
}

// specV2 is the OpenAPI v2 document of the server.
func specV2(version string) map[string]any {
	paths := map[string]any{}
	for _, o := range operations() {
		at := pathItem(paths, o.path, map[string]any{"name": "name", "in": "path", "required": true,
			"description": "name of the DomainRecord", "type": "string", "uniqueItems": true})
		params := []any{}
		if o.body != "" {
			params = append(params, map[string]any{"name": "body", "in": "body", "required": required(o.body), "schema": refV2(o.body)})
		}
		for _, p := range o.params {
			params = append(params, map[string]any{"name": p.name, "in": "query", "description": p.description, "type": p.typ, "uniqueItems": true})
		}
		op := map[string]any{
			"tags": []string{"coreApoxyDev_v1alpha3"}, "description": o.description, "operationId": o.operationID(),
			"produces": strings.Fields(acceptedTypes), "schemes": []string{"http"}, "parameters": params,
			"responses":  map[string]any{o.code: map[string]any{"description": "OK", "schema": refV2(o.answer)}},
			actExtension: o.action, gvkExtension: o.gvk(),
		}
		if o.consumes != "" {
			op["consumes"] = strings.Fields(o.consumes)
		}
		at[strings.ToLower(o.method)] = op
	}
	return map[string]any{
		"swagger":     "2.0",
		"info":        map[string]any{"title": title, "version": version},
		"paths":       paths,
		"definitions": v1alpha3.OpenAPIDefinitions(),
	}
}

func refV2(schema string) map[string]any { return map[string]any{"$ref": "#/definitions/" + schema} }

// pathItem returns the item of a path, with its path parameter once.
func pathItem(paths map[string]any, path string, name map[string]any) map[string]any {
	if at, ok := paths[path].(map[string]any); ok {
		return at
	}
	at := map[string]any{}
	if strings.Contains(path, "{name}") {
		at["parameters"] = []any{name}
	}
	paths[path] = at
	return at
}
