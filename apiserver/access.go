package apiserver

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// servedGroup is one API group with what is served of it.
type servedGroup struct {
	gv        schema.GroupVersion
	resources []metav1.APIResource
}

// served lists everything that is served as a resource, for discovery and for
// reviews alike.
func served() []servedGroup {
	return []servedGroup{
		{v1alpha3.GroupVersion, ourResources},
		{crdGroup, crdResources},
		{authenticationGroup, authenticationResources},
		{authorizationGroup, authorizationResources},
	}
}

// everything stands for all verbs, groups or resources in a question; the
// answer is yes only if all of them are served.
const everything = "*"

// resourceVerbs are all that Kubernetes has for a resource.
var resourceVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// allowed answers an access review: whoever reaches the API may do what is
// served, and nobody what is not. Namespaces and names are not looked at, since
// everything here is cluster-scoped and open by any name.
func (c *call) allowed(s *reviewSpec) bool {
	if a := s.ResourceAttributes; a != nil {
		return servesResource(*a)
	}
	a := s.NonResourceAttributes
	if v := strings.ToLower(a.Verb); v != "get" && v != "head" {
		return false
	}
	return c.servesPath(a.Path)
}

// servesPath reports whether GET of a path, or of all that a final * stands for,
// is served.
func (c *call) servesPath(path string) bool {
	if slices.Contains(nonResourceURLs, path) {
		return true
	}
	if !strings.HasPrefix(path, "/") {
		return false
	}
	_, ok := c.document(strings.Split(strings.Trim(path, "/"), "/"))
	return ok
}

// servesResource reports whether the verb is served for the resource.
func servesResource(a resourceAttributes) bool {
	name := a.Resource
	if a.Subresource != "" {
		name += "/" + a.Subresource
	}
	for _, g := range served() {
		if g.gv.Group != a.Group || a.Version != "" && a.Version != everything && a.Version != g.gv.Version {
			continue
		}
		for _, r := range g.resources {
			if r.Name != name {
				continue
			}
			if a.Verb != everything {
				return slices.Contains(r.Verbs, a.Verb)
			}
			return !slices.ContainsFunc(resourceVerbs, func(v string) bool { return !slices.Contains(r.Verbs, v) })
		}
	}
	return false
}

// nonResourceURLs are what is served beside resources.
var nonResourceURLs = []string{"/api", "/api/*", "/apis", "/apis/*", "/openapi/*", "/version"}

// rules answers a rules review: everything that is served, resources with the
// same verbs together.
func rules() rulesStatus {
	status := rulesStatus{ResourceRules: []resourceRule{}}
	for _, g := range served() {
		first := len(status.ResourceRules)
		for _, r := range g.resources {
			i := slices.IndexFunc(status.ResourceRules[first:], func(rule resourceRule) bool { return slices.Equal(rule.Verbs, r.Verbs) })
			if i >= 0 {
				rule := &status.ResourceRules[first+i]
				rule.Resources = append(rule.Resources, r.Name)
				continue
			}
			status.ResourceRules = append(status.ResourceRules, resourceRule{
				Verbs: r.Verbs, APIGroups: []string{g.gv.Group}, Resources: []string{r.Name}})
		}
	}
	status.NonResourceRules = []nonResourceRule{{Verbs: []string{"get", "head"}, NonResourceURLs: nonResourceURLs}}
	return status
}
