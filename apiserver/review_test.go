package apiserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	accessPath = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
	rulesPath  = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
	selfPath   = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
)

// accessQuestion is a review of one verb.
func accessQuestion(attributes string) string {
	return `{"apiVersion":"authorization.k8s.io/v1","kind":"SelfSubjectAccessReview","metadata":{"creationTimestamp":null},"spec":{` + attributes + `},"status":{"allowed":false}}`
}

func TestAccessReview(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		is, asks string
		yes      bool
	}{
		{"what is served", `"resourceAttributes":{"verb":"list","group":"core.apoxy.dev","resource":"domainrecords"}`, true},
		{"in a namespace, which says nothing here", `"resourceAttributes":{"namespace":"default","verb":"get","group":"core.apoxy.dev","resource":"domainrecords","name":"x"}`, true},
		{"in our version", `"resourceAttributes":{"verb":"watch","group":"core.apoxy.dev","version":"v1alpha3","resource":"domainrecords"}`, true},
		{"in another version", `"resourceAttributes":{"verb":"watch","group":"core.apoxy.dev","version":"v1","resource":"domainrecords"}`, false},
		{"every verb of records", `"resourceAttributes":{"verb":"*","group":"core.apoxy.dev","resource":"domainrecords"}`, true},
		{"a subresource", `"resourceAttributes":{"verb":"patch","group":"core.apoxy.dev","resource":"domainrecords","subresource":"status"}`, true},
		{"a verb that a subresource has not", `"resourceAttributes":{"verb":"delete","group":"core.apoxy.dev","resource":"domainrecords","subresource":"status"}`, false},
		{"a subresource that is none", `"resourceAttributes":{"verb":"get","group":"core.apoxy.dev","resource":"domainrecords","subresource":"scale"}`, false},
		{"with selectors", `"resourceAttributes":{"verb":"list","group":"core.apoxy.dev","resource":"domainrecords","fieldSelector":{"rawSelector":"a=b"},"labelSelector":{"requirements":[]}}`, true},
		{"the definition", `"resourceAttributes":{"verb":"list","group":"apiextensions.k8s.io","resource":"customresourcedefinitions"}`, true},
		{"every verb of the definition, which is read-only", `"resourceAttributes":{"verb":"*","group":"apiextensions.k8s.io","resource":"customresourcedefinitions"}`, false},
		{"this very question", `"resourceAttributes":{"verb":"create","group":"authorization.k8s.io","resource":"selfsubjectaccessreviews"}`, true},
		{"pods", `"resourceAttributes":{"verb":"list","resource":"pods"}`, false},
		{"records of no group", `"resourceAttributes":{"verb":"list","resource":"domainrecords"}`, false},
		{"all that there may be", `"resourceAttributes":{"verb":"*","group":"*","resource":"*"}`, false},
		{"another verb", `"resourceAttributes":{"verb":"impersonate","group":"core.apoxy.dev","resource":"domainrecords"}`, false},
		{"no verb", `"resourceAttributes":{"group":"core.apoxy.dev","resource":"domainrecords"}`, false},
		{"a path", `"nonResourceAttributes":{"verb":"get","path":"/version"}`, true},
		{"a path below a root", `"nonResourceAttributes":{"verb":"get","path":"/openapi/v3/apis/core.apoxy.dev/v1alpha3"}`, true},
		{"all paths below a root", `"nonResourceAttributes":{"verb":"get","path":"/apis/*"}`, true},
		{"a path that is written to", `"nonResourceAttributes":{"verb":"post","path":"/version"}`, false},
		{"a path of Caddy's", `"nonResourceAttributes":{"verb":"get","path":"/config/"}`, false},
		{"no path", `"nonResourceAttributes":{"verb":"get"}`, false},
	} {
		t.Run(c.is, func(t *testing.T) {
			a := w.call("POST", accessPath, accessQuestion(c.asks)).want(201)
			var got struct {
				metav1.TypeMeta
				Spec   json.RawMessage
				Status struct{ Allowed, Denied bool }
			}
			a.into(&got)
			if got.Status.Allowed != c.yes || got.Status.Denied == c.yes || got.Kind != "SelfSubjectAccessReview" || got.APIVersion != "authorization.k8s.io/v1" {
				t.Errorf("answer %s", a.body)
			}
			if strings.Contains(c.asks, "group") && !strings.Contains(string(got.Spec), `"group"`) {
				t.Errorf("the question is not in the answer: %s", a.body)
			}
		})
	}
}

func TestReviewsThatAreWrong(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		is, path, typ, body string
		code                int
		reason              metav1.StatusReason
		says                string
	}{
		{"about nothing", accessPath, "", accessQuestion(""), 422, metav1.StatusReasonInvalid, "exactly one of"},
		{"without a spec", accessPath, "", "{}", 422, metav1.StatusReasonInvalid, "spec.resourceAttributes"},
		{"about two things", accessPath, "", accessQuestion(`"resourceAttributes":{"verb":"get"},"nonResourceAttributes":{"verb":"get"}`), 422, metav1.StatusReasonInvalid, "in combination"},
		{"of another kind", accessPath, "", `{"apiVersion":"v1","kind":"Pod"}`, 400, metav1.StatusReasonBadRequest, "does not match"},
		{"no JSON", rulesPath, "", "{", 400, metav1.StatusReasonBadRequest, "decoding"},
		{"a wrong type", accessPath, "", `{"spec":{"resourceAttributes":7}}`, 400, metav1.StatusReasonBadRequest, "decoding"},
		{"too large", selfPath, "", `{"metadata":{"name":"` + strings.Repeat("x", maxReview) + `"}}`, 413, metav1.StatusReasonRequestEntityTooLarge, "limit"},
		{"nested too deep", accessPath, "", strings.Repeat(`{"spec":`, 100) + "1" + strings.Repeat("}", 100), 400, metav1.StatusReasonBadRequest, "deeper"},
		{"in another form", selfPath, "text/plain", "x", 415, metav1.StatusReasonUnsupportedMediaType, "protobuf"},
		{"protobuf without its magic", accessPath, typeProtobuf, "\x0a\x00", 400, metav1.StatusReasonBadRequest, "does not begin with"},
		{"protobuf that is cut off", accessPath, typeProtobuf, "k8s\x00\x12\x7f", 400, metav1.StatusReasonBadRequest, "protobuf body"},
		{"an unknown field under Strict", accessPath + "?fieldValidation=Strict", "", accessQuestion(`"x":1,"resourceAttributes":{"verb":"get"}`), 400, metav1.StatusReasonBadRequest, `unknown field`},
	} {
		t.Run(c.is, func(t *testing.T) {
			var headers []string
			if c.typ != "" {
				headers = []string{"Content-Type", c.typ}
			}
			st := w.call("POST", c.path, c.body, headers...).status(c.code, c.reason)
			if !strings.Contains(st.Message, c.says) {
				t.Errorf("the message %q does not say %q", st.Message, c.says)
			}
		})
	}
	for _, path := range []string{accessPath, rulesPath, selfPath} {
		for _, m := range []string{"GET", "PUT", "DELETE"} {
			if a := w.call(m, path, ""); a.code != 405 || a.header.Get("Allow") != http.MethodPost {
				t.Errorf("%s %s: status %d, Allow %q", m, path, a.code, a.header.Get("Allow"))
			}
		}
	}
	w.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", "{}").status(404, metav1.StatusReasonNotFound)
	w.call("POST", "/apis/core.apoxy.dev/v1alpha3/selfsubjectreviews", "{}").status(404, metav1.StatusReasonNotFound)
}

// message writes fields of texts, numbered as they come; empty ones are left out.
func message(values ...string) string {
	var b []byte
	for i, v := range values {
		if v != "" {
			b = protowire.AppendTag(b, protowire.Number(i+1), protowire.BytesType)
			b = protowire.AppendString(b, v)
		}
	}
	return string(b)
}

// envelope is a built-in kind as typed clients send it.
func envelope(apiVersion, kind, raw string) string {
	return "k8s\x00" + message(message(apiVersion, kind), raw)
}

func TestReviewsInProtobuf(t *testing.T) {
	w := newWorld(t)
	const v1 = "authorization.k8s.io/v1"
	access := func(spec string) string {
		return envelope(v1, "SelfSubjectAccessReview", message(message("", "", "", "", "", "", ""), spec, "\x08\x00"))
	}
	for _, c := range []struct {
		is, path, body, says string
	}{
		{"what is served", accessPath, access(message(message("default", "list", "core.apoxy.dev", "", "domainrecords"))), `"allowed":true`},
		{"a subresource", accessPath, access(message(message("", "get", "core.apoxy.dev", "v1alpha3", "domainrecords", "status", "x"))), `"subresource":"status","name":"x"`},
		{"pods", accessPath, access(message(message("default", "list", "", "", "pods"))), `"allowed":false`},
		{"a path", accessPath, access(message("", message("/version", "get"))), `"allowed":true`},
		{"the rules", rulesPath, envelope(v1, "SelfSubjectRulesReview", message("", message("default"))), `"namespace":"default"`},
		{"who it is", selfPath, envelope("authentication.k8s.io/v1", "SelfSubjectReview", message("", message(message("")))), `"username":"caddy-admin"`},
	} {
		t.Run(c.is, func(t *testing.T) {
			a := w.call("POST", c.path, c.body, "Content-Type", typeProtobuf, "Accept", typeProtobuf+",application/json").want(201)
			if !strings.Contains(string(a.body), c.says) || a.header.Get("Content-Type") != "application/json" {
				t.Errorf("answer %s of type %s, want %s", a.body, a.header.Get("Content-Type"), c.says)
			}
		})
	}
	w.call("POST", accessPath, access(""), "Content-Type", typeProtobuf).status(422, metav1.StatusReasonInvalid)
	w.call("POST", accessPath, envelope("v1", "Pod", ""), "Content-Type", typeProtobuf).status(400, metav1.StatusReasonBadRequest)
}

func TestRulesReviewNamesWhatIsServed(t *testing.T) {
	w := newWorld(t)
	var got struct{ Status rulesStatus }
	a := w.call("POST", rulesPath, `{"spec":{"namespace":"default"}}`).want(201)
	a.into(&got)
	i := slices.IndexFunc(got.Status.ResourceRules, func(r resourceRule) bool { return slices.Contains(r.Resources, "domainrecords") })
	if i < 0 || !slices.Contains(got.Status.ResourceRules[i].Verbs, "watch") || got.Status.ResourceRules[i].APIGroups[0] != "core.apoxy.dev" ||
		got.Status.Incomplete || len(got.Status.NonResourceRules) != 1 {
		t.Errorf("rules %s", a.body)
	}
	// What the rules allow the access review allows, too.
	for _, rule := range got.Status.ResourceRules {
		for _, resource := range rule.Resources {
			name, sub, _ := strings.Cut(resource, "/")
			for _, verb := range rule.Verbs {
				if !servesResource(resourceAttributes{Verb: verb, Group: rule.APIGroups[0], Resource: name, Subresource: sub}) {
					t.Errorf("%s %s is in the rules and not allowed", verb, resource)
				}
			}
		}
	}
}

func FuzzReviewFromProtobuf(f *testing.F) {
	f.Add([]byte(envelope("authorization.k8s.io/v1", kindAccess, message("", message(message("ns", "get", "g", "v", "r", "s", "n"), message("/x", "get"))))), true)
	f.Add([]byte("k8s\x00\x12\x7f"), false)
	f.Add([]byte("k8s\x00\x0b\x0b\x0c\x0c"), true)
	f.Fuzz(func(t *testing.T, data []byte, access bool) {
		kind := kindRules
		if access {
			kind = kindAccess
		}
		r, err := reviewFromProtobuf(data, kind)
		if err != nil {
			return
		}
		out, err := json.Marshal(r)
		if err != nil || len(out) > 12*len(data)+1000 {
			t.Fatalf("%d bytes of %d, %v", len(out), len(data), err)
		}
	})
}
