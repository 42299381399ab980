package apiserver

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// Reviews are how a client asks what it may do and who it is, before it offers
// its user anything. They are posted, answered and never kept.
var (
	authenticationGroup = schema.GroupVersion{Group: "authentication.k8s.io", Version: "v1"}
	authorizationGroup  = schema.GroupVersion{Group: "authorization.k8s.io", Version: "v1"}

	authenticationResources = []metav1.APIResource{
		{Name: "selfsubjectreviews", SingularName: "selfsubjectreview", Kind: kindSelf, Verbs: metav1.Verbs{"create"}},
	}
	authorizationResources = []metav1.APIResource{
		{Name: "selfsubjectaccessreviews", SingularName: "selfsubjectaccessreview", Kind: kindAccess, Verbs: metav1.Verbs{"create"}},
		{Name: "selfsubjectrulesreviews", SingularName: "selfsubjectrulesreview", Kind: kindRules, Verbs: metav1.Verbs{"create"}},
	}
)

const (
	kindSelf   = "SelfSubjectReview"
	kindAccess = "SelfSubjectAccessReview"
	kindRules  = "SelfSubjectRulesReview"
)

// Who asks is not known here: whoever reaches the endpoint may do everything.
const (
	reviewer      = "caddy-admin"
	reviewerGroup = "system:authenticated"
)

// maxReview bounds a review's body, in bytes.
const maxReview = 64 << 10

// The types of authentication.k8s.io/v1 and authorization.k8s.io/v1, as far as
// they are used: the module that has them holds every built-in kind of
// Kubernetes beside.
type (
	review struct {
		metav1.TypeMeta `json:",inline"`
		Metadata        metav1.ObjectMeta `json:"metadata"`
		Spec            *reviewSpec       `json:"spec,omitempty"`
		Status          any               `json:"status,omitempty"`
	}
	// reviewSpec is that of all kinds: namespace is of the rules' review.
	reviewSpec struct {
		Namespace             string                 `json:"namespace,omitempty"`
		ResourceAttributes    *resourceAttributes    `json:"resourceAttributes,omitempty"`
		NonResourceAttributes *nonResourceAttributes `json:"nonResourceAttributes,omitempty"`
	}
	resourceAttributes struct {
		Namespace   string `json:"namespace,omitempty"`
		Verb        string `json:"verb,omitempty"`
		Group       string `json:"group,omitempty"`
		Version     string `json:"version,omitempty"`
		Resource    string `json:"resource,omitempty"`
		Subresource string `json:"subresource,omitempty"`
		Name        string `json:"name,omitempty"`
		// The selectors narrow what is asked for, which changes no answer.
		FieldSelector map[string]any `json:"fieldSelector,omitempty"`
		LabelSelector map[string]any `json:"labelSelector,omitempty"`
	}
	nonResourceAttributes struct {
		Path string `json:"path,omitempty"`
		Verb string `json:"verb,omitempty"`
	}
	accessStatus struct {
		Allowed bool `json:"allowed"`
		Denied  bool `json:"denied,omitempty"`
	}
	rulesStatus struct {
		ResourceRules    []resourceRule    `json:"resourceRules"`
		NonResourceRules []nonResourceRule `json:"nonResourceRules"`
		Incomplete       bool              `json:"incomplete"`
	}
	resourceRule struct {
		Verbs     []string `json:"verbs"`
		APIGroups []string `json:"apiGroups"`
		Resources []string `json:"resources"`
	}
	nonResourceRule struct {
		Verbs           []string `json:"verbs"`
		NonResourceURLs []string `json:"nonResourceURLs"`
	}
	selfStatus struct {
		UserInfo userInfo `json:"userInfo"`
	}
	userInfo struct {
		Username string   `json:"username"`
		Groups   []string `json:"groups"`
	}
)

// reviewAt finds the kind of review that a path takes, and its API version.
func reviewAt(path []string) (r metav1.APIResource, gv schema.GroupVersion, ok bool) {
	if len(path) != 4 || path[0] != "apis" {
		return r, gv, false
	}
	for _, t := range served() {
		if t.gv != authenticationGroup && t.gv != authorizationGroup || path[1] != t.gv.Group || path[2] != t.gv.Version {
			continue
		}
		i := slices.IndexFunc(t.resources, func(r metav1.APIResource) bool { return r.Name == path[3] })
		if i >= 0 {
			return t.resources[i], t.gv, true
		}
	}
	return r, gv, false
}

// review answers POST of a review.
func (c *call) review(of metav1.APIResource, gv schema.GroupVersion) error {
	if c.r.Method != http.MethodPost {
		c.w.Header().Set("Allow", http.MethodPost)
		return apierrors.NewMethodNotSupported(gv.WithResource(of.Name).GroupResource(), strings.ToLower(c.r.Method))
	}
	c.verb = "create"
	var err error
	if c.media, err = negotiate(c.r, nil, false); err != nil {
		return err
	}
	want := metav1.TypeMeta{Kind: of.Kind, APIVersion: gv.String()}
	asked, err := c.readReview(want)
	if err != nil {
		return err
	}
	asked.TypeMeta = want
	switch of.Kind {
	case kindSelf:
		asked.Spec = nil
		asked.Status = selfStatus{userInfo{Username: reviewer, Groups: []string{reviewerGroup}}}
	case kindRules:
		asked.Status = rules()
	case kindAccess:
		if asked.Spec == nil {
			asked.Spec = new(reviewSpec)
		}
		if err := checkAccessSpec(asked.Spec); err != nil {
			return err
		}
		allowed := c.allowed(asked.Spec)
		asked.Status = accessStatus{Allowed: allowed, Denied: !allowed}
	}
	return c.send(http.StatusCreated, asked)
}

// checkAccessSpec refuses a question about nothing, or about two things.
func checkAccessSpec(s *reviewSpec) error {
	path := field.NewPath("spec").Child("resourceAttributes")
	switch {
	case s.ResourceAttributes == nil && s.NonResourceAttributes == nil:
		return apierrors.NewInvalid(authorizationGroup.WithKind(kindAccess).GroupKind(), "", field.ErrorList{
			field.Required(path, "give exactly one of nonResourceAttributes or resourceAttributes")})
	case s.ResourceAttributes != nil && s.NonResourceAttributes != nil:
		return apierrors.NewInvalid(authorizationGroup.WithKind(kindAccess).GroupKind(), "", field.ErrorList{
			field.Forbidden(path, "cannot be specified in combination with nonResourceAttributes")})
	}
	return nil
}

// readReview reads a review in JSON, YAML or protobuf, which typed clients
// prefer for the kinds that Kubernetes has built in.
func (c *call) readReview(want metav1.TypeMeta) (*review, error) {
	typ := bodyType(c.r)
	if typ != typeJSON && typ != typeYAML && typ != typeProtobuf {
		return nil, errUnsupportedMedia(typeJSON, typeYAML, typeProtobuf)
	}
	data, err := c.readBody()
	if err != nil {
		return nil, err
	}
	if len(data) > maxReview {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf("limit is %d", maxReview))
	}
	r := new(review)
	var strict []error
	if typ == typeProtobuf {
		if r, err = reviewFromProtobuf(data, want.Kind); err != nil {
			return nil, apierrors.NewBadRequest("decoding the protobuf body: " + err.Error())
		}
	} else {
		if typ == typeYAML {
			data, strict, err = fromYAML(data, c.s.objectBounds())
		} else {
			err = weigh(data, c.s.objectBounds())
		}
		if err != nil {
			return nil, err
		}
		more, err := kjson.UnmarshalStrict(data, r)
		if err != nil {
			return nil, apierrors.NewBadRequest("decoding the body: " + err.Error())
		}
		strict = append(strict, more...)
	}
	if err := c.complain(c.query.Get("fieldValidation"), strict); err != nil {
		return nil, err
	}
	if err := checkTypeIs(r.TypeMeta, want); err != nil {
		return nil, err
	}
	return r, c.alive()
}
