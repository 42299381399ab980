package apiserver

import (
	"net/http"
	"runtime"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// static serves what is the same for every record: discovery, schemas, the
// version and the description of our own resource.
func (c *call) static(path []string) error {
	serve, ok := c.document(path)
	if !ok {
		return errNotServed()
	}
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		c.verb = "get"
		return serve()
	}
	return c.notAllowed("GET")
}

// document finds what answers a path.
func (c *call) document(path []string) (serve func() error, ok bool) {
	switch p := strings.Join(path, "/"); p {
	case "version":
		return c.fixed(c.s.version), true
	case "api":
		return c.discovery(&metav1.APIVersions{
			TypeMeta:                   metav1.TypeMeta{Kind: "APIVersions"},
			Versions:                   []string{coreVersion},
			ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{{ClientCIDR: "0.0.0.0/0", ServerAddress: c.r.Host}},
		}, []groupDiscovery{discovered("", coreVersion, nil)}), true
	case "api/" + coreVersion:
		return c.fixed(resourceList(coreVersion, []metav1.APIResource{})), true
	case "apis":
		return c.discovery(&metav1.APIGroupList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"},
			Groups:   apiGroups(),
		}, aggregated()), true
	case "apis/" + crdGroup.String() + "/" + crdPlural:
		return c.listCRDs, true
	case "apis/" + crdGroup.String() + "/" + crdPlural + "/" + crdName:
		return c.getCRD, true
	default:
		for _, g := range served() {
			switch p {
			case "apis/" + g.gv.Group:
				return c.fixed(typedGroup(g.gv)), true
			case "apis/" + g.gv.String():
				return c.fixed(resourceList(g.gv.String(), g.resources)), true
			}
		}
	}
	if slices.Equal(path, []string{"openapi", "v2"}) {
		return c.openAPIv2, true
	}
	if len(path) >= 2 && path[0] == "openapi" && path[1] == "v3" {
		return func() error { return c.openAPIv3(path[2:]) }, true
	}
	return nil, false
}

// fixed answers with one object in its one form.
func (c *call) fixed(v any) func() error {
	return func() error {
		var err error
		if c.media, err = negotiate(c.r, nil, false); err != nil {
			return err
		}
		return c.send(http.StatusOK, v)
	}
}

// discovery answers with the aggregated form where it is asked for, else with
// the legacy one. Clients take the one only if both roots offer it.
func (c *call) discovery(legacy any, groups []groupDiscovery) func() error {
	return func() error {
		var err error
		if c.media, err = negotiate(c.r, discoveryOffers, false); err != nil {
			return err
		}
		if c.media.as != asDiscovery {
			return c.send(http.StatusOK, legacy)
		}
		return c.send(http.StatusOK, groupDiscoveryList{
			TypeMeta: metav1.TypeMeta{Kind: asDiscovery, APIVersion: c.media.apiVersion()},
			Items:    groups,
		})
	}
}

// coreVersion is that of Kubernetes' core group. None of its resources is here,
// but clients take it for the home of the kind List, in which kubectl writes
// several objects and wants them back.
const coreVersion = "v1"

var (
	objectVerbs = metav1.Verbs{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

	ourResources = []metav1.APIResource{
		{
			Name: v1alpha3.Resource, SingularName: v1alpha3.Singular, Kind: v1alpha3.Kind,
			Verbs: objectVerbs, ShortNames: []string{v1alpha3.ShortName}, Categories: []string{"all"},
			StorageVersionHash: storageHash(v1alpha3.GroupVersionKind.String()),
		},
		{Name: v1alpha3.Resource + "/certificate", Kind: v1alpha3.Kind, Verbs: metav1.Verbs{"delete", "update"}},
		{Name: v1alpha3.Resource + "/check", Kind: v1alpha3.Kind, Verbs: metav1.Verbs{"create"}},
		{Name: v1alpha3.Resource + "/revoke", Kind: v1alpha3.Kind, Verbs: metav1.Verbs{"create"}},
		{Name: v1alpha3.Resource + "/setuplink", Kind: v1alpha3.SetupLinkKind, Verbs: metav1.Verbs{"create"}},
		{Name: v1alpha3.Resource + "/status", Kind: v1alpha3.Kind, Verbs: metav1.Verbs{"get", "patch", "update"}},
	}
)

func groupVersion(gv interface{ String() string }) metav1.GroupVersionForDiscovery {
	s := gv.String()
	_, v, _ := strings.Cut(s, "/")
	return metav1.GroupVersionForDiscovery{GroupVersion: s, Version: v}
}

func apiGroup(gv interface{ String() string }) metav1.APIGroup {
	v := groupVersion(gv)
	name, _, _ := strings.Cut(v.GroupVersion, "/")
	return metav1.APIGroup{Name: name, Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v}
}

func apiGroups() []metav1.APIGroup {
	var groups []metav1.APIGroup
	for _, g := range served() {
		groups = append(groups, apiGroup(g.gv))
	}
	return groups
}

func typedGroup(gv interface{ String() string }) metav1.APIGroup {
	g := apiGroup(gv)
	g.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
	return g
}

func resourceList(gv string, resources []metav1.APIResource) *metav1.APIResourceList {
	return &metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"},
		GroupVersion: gv,
		APIResources: resources,
	}
}

// The types of apidiscovery.k8s.io/v2, as far as they are used: the module that
// has them holds every built-in kind of Kubernetes beside.
type (
	groupDiscoveryList struct {
		metav1.TypeMeta `json:",inline"`
		metav1.ListMeta `json:"metadata"`
		Items           []groupDiscovery `json:"items"`
	}
	groupDiscovery struct {
		Metadata struct {
			Name              string  `json:"name"`
			CreationTimestamp *string `json:"creationTimestamp"`
		} `json:"metadata"`
		Versions []versionDiscovery `json:"versions"`
	}
	versionDiscovery struct {
		Version   string              `json:"version"`
		Resources []resourceDiscovery `json:"resources"`
		Freshness string              `json:"freshness"`
	}
	resourceDiscovery struct {
		Resource         string                 `json:"resource"`
		ResponseKind     discoveredKind         `json:"responseKind"`
		Scope            string                 `json:"scope"`
		SingularResource string                 `json:"singularResource"`
		Verbs            []string               `json:"verbs"`
		ShortNames       []string               `json:"shortNames,omitempty"`
		Categories       []string               `json:"categories,omitempty"`
		Subresources     []subresourceDiscovery `json:"subresources,omitempty"`
	}
	subresourceDiscovery struct {
		Subresource  string         `json:"subresource"`
		ResponseKind discoveredKind `json:"responseKind"`
		Verbs        []string       `json:"verbs"`
	}
	discoveredKind struct {
		Group   string `json:"group"`
		Version string `json:"version"`
		Kind    string `json:"kind"`
	}
)

// aggregated is the whole of discovery in one answer, derived from the same
// tables as the legacy form.
func aggregated() []groupDiscovery {
	var groups []groupDiscovery
	for _, g := range served() {
		groups = append(groups, discovered(g.gv.Group, g.gv.Version, g.resources))
	}
	return groups
}

func discovered(group, ver string, resources []metav1.APIResource) groupDiscovery {
	var g groupDiscovery
	g.Metadata.Name = group
	v := versionDiscovery{Version: ver, Resources: []resourceDiscovery{}, Freshness: "Current"}
	for _, r := range resources {
		kind := discoveredKind{Group: group, Version: ver, Kind: r.Kind}
		if _, sub, ok := strings.Cut(r.Name, "/"); ok {
			parent := &v.Resources[len(v.Resources)-1]
			parent.Subresources = append(parent.Subresources, subresourceDiscovery{Subresource: sub, ResponseKind: kind, Verbs: r.Verbs})
			continue
		}
		v.Resources = append(v.Resources, resourceDiscovery{
			Resource: r.Name, ResponseKind: kind, Scope: "Cluster", SingularResource: r.SingularName,
			Verbs: r.Verbs, ShortNames: r.ShortNames, Categories: r.Categories,
		})
	}
	g.Versions = []versionDiscovery{v}
	return g
}

// versionInfo is what GET /version answers. kubectl compares major and minor
// with its own, so they are those of the Kubernetes API that is followed here.
func versionInfo(v string) version.Info {
	return version.Info{
		Major: "1", Minor: "37", GitVersion: "v1.37.0+caddy-apoxy-" + strings.TrimPrefix(v, "v"),
		GitTreeState: "clean", GoVersion: runtime.Version(), Compiler: runtime.Compiler,
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
}
