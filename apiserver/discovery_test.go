package apiserver

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const acceptAggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"

func TestDiscovery(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Version = "v1.2.3" })
	t.Run("legacy", func(t *testing.T) {
		var groups metav1.APIGroupList
		w.call("GET", "/apis", "").want(200).into(&groups)
		if len(groups.Groups) != 4 || groups.Groups[0].PreferredVersion.GroupVersion != "core.apoxy.dev/v1alpha3" {
			t.Errorf("groups %+v", groups)
		}
		var group metav1.APIGroup
		w.call("GET", "/apis/core.apoxy.dev", "").want(200).into(&group)
		if group.Kind != "APIGroup" || group.Name != "core.apoxy.dev" {
			t.Errorf("group %+v", group)
		}
		var list metav1.APIResourceList
		w.call("GET", "/apis/core.apoxy.dev/v1alpha3/", "").want(200).into(&list)
		r := list.APIResources[0]
		if r.Name != "domainrecords" || r.Namespaced || r.SingularName != "domainrecord" || !slices.Contains(r.ShortNames, "dr") || !slices.Contains(r.Verbs, "watch") {
			t.Errorf("resource %+v", r)
		}
		// kubectl takes the core group for the home of the kind List.
		if a := w.call("GET", "/api", "").want(200); !strings.Contains(string(a.body), `"versions":["v1"]`) {
			t.Errorf("core: %s", a.body)
		}
		if a := w.call("GET", "/api/v1", "").want(200); !strings.Contains(string(a.body), `"groupVersion":"v1","resources":[]`) {
			t.Errorf("core: %s", a.body)
		}
	})
	t.Run("aggregated, at both roots alike", func(t *testing.T) {
		for _, path := range []string{"/api", "/apis"} {
			a := w.call("GET", path, "", "Accept", acceptAggregated).want(200)
			if ct := a.header.Get("Content-Type"); ct != "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList" {
				t.Errorf("%s: %q", path, ct)
			}
			var l groupDiscoveryList
			a.into(&l)
			if l.Kind != "APIGroupDiscoveryList" || len(l.Items) == 0 {
				t.Errorf("%s: %s", path, a.body)
			}
			if path == "/api" && !strings.Contains(string(a.body), `"name":"","creationTimestamp":null},"versions":[{"version":"v1","resources":[],`) {
				t.Errorf("%s: %s", path, a.body)
			}
			if path == "/apis" {
				r := l.Items[0].Versions[0].Resources[0]
				if r.Resource != "domainrecords" || r.Scope != "Cluster" || len(r.Subresources) != 5 || r.ResponseKind.Kind != "DomainRecord" {
					t.Errorf("resource %+v", r)
				}
			}
		}
	})
	t.Run("the version", func(t *testing.T) {
		if a := w.call("GET", "/version", "").want(200); !strings.Contains(string(a.body), "1.2.3") {
			t.Errorf("version %s", a.body)
		}
	})
	t.Run("everything else is 404 for every method", func(t *testing.T) {
		for _, path := range []string{
			"/api/v1/events", "/api/v2", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "/apis/core.apoxy.dev/v1",
			base + "/a/b", base + "/a/status/b", "/apis/core.apoxy.dev/v1alpha3/namespaces/x/domainrecords", "/openapi/v4", base + "/a%2Fb",
		} {
			for _, method := range []string{"GET", "POST", "DELETE"} {
				if path == base+"/a%2Fb" && method == "POST" {
					continue // a name, and so 405
				}
				w.call(method, path, "{}").status(404, metav1.StatusReasonNotFound)
			}
		}
	})
	t.Run("methods that are not served are 405", func(t *testing.T) {
		for path, methods := range map[string][]string{
			base: {"PUT", "PATCH", "OPTIONS"}, base + "/a": {"POST"}, base + "/a/status": {"POST", "DELETE"},
			base + "/a/check": {"GET", "PUT"}, "/apis": {"POST"}, "/version": {"DELETE"},
		} {
			for _, m := range methods {
				if a := w.call(m, path, ""); a.code != 405 || a.header.Get("Allow") == "" {
					t.Errorf("%s %s: status %d, Allow %q", m, path, a.code, a.header.Get("Allow"))
				}
			}
		}
	})
}

func TestOpenAPI(t *testing.T) {
	w := newWorld(t)
	var index struct {
		Paths map[string]struct {
			ServerRelativeURL string `json:"serverRelativeURL"`
		} `json:"paths"`
	}
	w.call("GET", "/openapi/v3", "").want(200).into(&index)
	url := index.Paths["apis/core.apoxy.dev/v1alpha3"].ServerRelativeURL
	if !strings.Contains(url, "?hash=") {
		t.Fatalf("index %+v", index)
	}
	a := w.call("GET", url, "", "Accept", "application/json").want(200)
	var v3 struct {
		Paths      map[string]map[string]json.RawMessage `json:"paths"`
		Components struct {
			Schemas map[string]json.RawMessage `json:"schemas"`
		} `json:"components"`
	}
	a.into(&v3)
	patch := string(v3.Paths[base+"/{name}"]["patch"])
	if !strings.Contains(patch, `"x-kubernetes-group-version-kind":{"group":"core.apoxy.dev","kind":"DomainRecord","version":"v1alpha3"}`) ||
		!strings.Contains(patch, `"fieldValidation"`) {
		t.Errorf("the patch operation is %s", patch)
	}
	if w.call("GET", url, "", "If-None-Match", a.header.Get("ETag")).code != 304 {
		t.Error("no 304 for the same ETag")
	}
	t.Run("every reference leads somewhere", func(t *testing.T) {
		for part := range strings.SplitSeq(string(a.body), `"$ref":"#/components/schemas/`) {
			name, _, _ := strings.Cut(part, `"`)
			if strings.HasPrefix(part, "{") {
				continue
			}
			if _, ok := v3.Components.Schemas[name]; !ok {
				t.Errorf("no schema %q", name)
			}
		}
	})
	t.Run("v2 as protobuf and JSON", func(t *testing.T) {
		var doc openapi_v2.Document
		a := w.call("GET", "/openapi/v2", "", "Accept", v2Protobuf).want(200)
		if err := proto.Unmarshal(a.body, &doc); err != nil || doc.Swagger != "2.0" {
			t.Errorf("document %v (%v)", doc.Swagger, err)
		}
		var v2 struct {
			Definitions map[string]json.RawMessage `json:"definitions"`
		}
		w.call("GET", "/openapi/v2", "", "Accept", "application/json").want(200).into(&v2)
		if _, ok := v2.Definitions["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]; !ok {
			t.Error("no ObjectMeta under the name that Terraform looks for")
		}
		w.call("GET", "/openapi/v2", "", "Accept", "text/html").status(406, metav1.StatusReasonNotAcceptable)
	})
}

func TestCustomResourceDefinition(t *testing.T) {
	w := newWorld(t)
	const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
	var l struct {
		Kind  string
		Items []struct {
			Metadata metav1.ObjectMeta
			Spec     struct {
				Versions []struct {
					Schema struct{ OpenAPIV3Schema json.RawMessage }
				}
			}
		}
	}
	a := w.call("GET", path, "").want(200)
	a.into(&l)
	if l.Kind != "CustomResourceDefinitionList" || len(l.Items) != 1 || l.Items[0].Metadata.Name != crdName {
		t.Fatalf("list %s", a.body)
	}
	if s := string(l.Items[0].Spec.Versions[0].Schema.OpenAPIV3Schema); strings.Contains(s, "$ref") || !strings.Contains(s, "dnsRecords") {
		t.Errorf("schema %s", s)
	}
	w.call("GET", path+"/"+crdName, "").want(200)
	w.call("GET", path+"/other", "").status(404, metav1.StatusReasonNotFound)
	w.call("POST", path, "{}").want(405)
	if a := w.call("GET", path+"?fieldSelector=metadata.name%3Dother", "").want(200); !strings.Contains(string(a.body), `"items":[]`) {
		t.Errorf("list %s", a.body)
	}
	if a := w.call("GET", path+"?watch=true&timeoutSeconds=1", "").want(200); strings.Count(string(a.body), "\n") != 1 {
		t.Errorf("watch %s", a.body)
	}
}
