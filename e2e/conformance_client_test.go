package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"
)

var clientConfig = &rest.Config{Host: adminURL, QPS: -1}

func dynamicClient(t *testing.T) dynamic.ResourceInterface {
	t.Helper()
	client, err := dynamic.NewForConfig(clientConfig)
	if err != nil {
		t.Fatal(err)
	}
	return client.Resource(recordsResource)
}

// object is a record with a spec that leaves out what changes sets to nil.
func object(host string, changes map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: manifest(host, false)}
	spec := u.Object["spec"].(map[string]any)
	for field, value := range changes {
		if spec[field] = value; value == nil {
			delete(spec, field)
		}
	}
	return u
}

func TestConformanceApplyByTwoManagers(t *testing.T) {
	start(t, network(t), settings{checkInterval: time.Hour})
	records, ctx := dynamicClient(t), t.Context()
	const host = "a.managers.com"
	one, two := metav1.ApplyOptions{FieldManager: "one"}, metav1.ApplyOptions{FieldManager: "two"}
	elsewhere := map[string]any{"target": map[string]any{"ref": map[string]any{"group": "gateway.apoxy.dev", "kind": "Gateway", "name": "elsewhere"}}}

	if _, err := records.Apply(ctx, host, object(host, map[string]any{"ttl": int64(60)}), one); err != nil {
		t.Fatal(err)
	}
	if _, err := records.Apply(ctx, host, object(host, nil), two); err != nil {
		t.Fatalf("the second manager applies the same: %v", err)
	}
	_, err := records.Apply(ctx, host, object(host, elsewhere), two)
	var status apierrors.APIStatus
	if !apierrors.IsConflict(err) {
		t.Fatalf("the second manager takes a field of the first: %v, want a conflict", err)
	} else if status = err.(apierrors.APIStatus); len(status.Status().Details.Causes) != 1 {
		t.Fatalf("the conflict has the causes %+v, want one", status.Status().Details.Causes)
	}
	cause := status.Status().Details.Causes[0]
	if cause.Type != metav1.CauseTypeFieldManagerConflict || cause.Field != ".spec.target.ref.name" || !strings.Contains(cause.Message, `conflict with "one"`) {
		t.Errorf("the cause of the conflict is %+v", cause)
	}
	two.Force = true
	if _, err := records.Apply(ctx, host, object(host, elsewhere), two); err != nil {
		t.Fatalf("the second manager forces it: %v", err)
	}
	two.Force = false
	if _, err := records.Apply(ctx, host, object(host, nil), one); !apierrors.IsConflict(err) {
		t.Errorf("the first manager wants it back: %v, want a conflict", err)
	}
	// What a manager no longer applies goes, unless another has it too.
	if _, err := records.Apply(ctx, host, object(host, map[string]any{"target": nil}), one); err != nil {
		t.Fatalf("the first manager gives up what it lost and its ttl: %v", err)
	}
	u, err := records.Get(ctx, host, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if ttl, found, _ := unstructured.NestedInt64(u.Object, "spec", "ttl"); found {
		t.Errorf("ttl, which nobody applies any more, is %d", ttl)
	}
	if name, _, _ := unstructured.NestedString(u.Object, "spec", "target", "ref", "name"); name != "elsewhere" {
		t.Errorf("target.ref.name is %q, want what the second manager forced", name)
	}
	owned := map[string]string{}
	for _, entry := range u.GetManagedFields() {
		if entry.Subresource == "" {
			owned[entry.Manager+" "+string(entry.Operation)] = entry.FieldsV1.GetRawString()
		}
	}
	if got := owned["one Apply"]; !sameJSON(got, `{"f:spec":{"f:name":{}}}`) {
		t.Errorf("the first manager owns %s", got)
	}
	if got := owned["two Apply"]; !sameJSON(got, `{"f:spec":{"f:name":{},"f:target":{"f:ref":{"f:group":{},"f:kind":{},"f:name":{}}}}}`) {
		t.Errorf("the second manager owns %s", got)
	}
	// Conditions merge by type: two writers of status keep each their own.
	for manager, kind := range map[string]string{"sun": "Sunny", "rain": "Rainy"} {
		condition := map[string]any{"type": kind, "status": "True", "reason": "Seen", "message": "", "lastTransitionTime": "2026-07-01T00:00:00Z"}
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": apiVersion, "kind": "DomainRecord", "metadata": map[string]any{"name": host},
			"status": map[string]any{"conditions": []any{condition}},
		}}
		if _, err := records.ApplyStatus(ctx, host, u, metav1.ApplyOptions{FieldManager: manager}); err != nil {
			t.Fatal(err)
		}
	}
	u, err = records.Get(ctx, host, metav1.GetOptions{}, "status")
	if err != nil {
		t.Fatal(err)
	}
	conditions, _, _ := unstructured.NestedSlice(u.Object, "status", "conditions")
	contains(t, fmt.Sprint(conditions), "type:Sunny", "type:Rainy")
}

func sameJSON(a, b string) bool {
	var x, y any
	return json.Unmarshal([]byte(a), &x) == nil && json.Unmarshal([]byte(b), &y) == nil && fmt.Sprint(x) == fmt.Sprint(y)
}

// What libraries on top of client-go do before and besides the informer.
func TestConformanceClients(t *testing.T) {
	start(t, network(t), settings{checkInterval: time.Hour})
	records, ctx := dynamicClient(t), t.Context()

	t.Run("a REST mapper finds the resource by discovery", func(t *testing.T) {
		client, err := discovery.NewDiscoveryClientForConfig(clientConfig)
		if err != nil {
			t.Fatal(err)
		}
		groups, err := restmapper.GetAPIGroupResources(client)
		if err != nil {
			t.Fatal(err)
		}
		mapping, err := restmapper.NewDiscoveryRESTMapper(groups).RESTMapping(schema.GroupKind{Group: recordsResource.Group, Kind: "DomainRecord"})
		if err != nil || mapping.Resource != recordsResource || mapping.Scope.Name() != "root" {
			t.Errorf("the mapping is %+v, %v", mapping, err)
		}
		if _, err := client.ServerPreferredResources(); err != nil {
			t.Error(err)
		}
		if version, err := client.ServerVersion(); err != nil || version.Major == "" {
			t.Errorf("the version is %+v, %v", version, err)
		}
		if schema, err := client.OpenAPISchema(); err != nil || len(schema.GetDefinitions().GetAdditionalProperties()) == 0 {
			t.Errorf("the OpenAPI v2 schema is %v, %v", schema, err)
		}
	})
	t.Run("many updates with retry on conflict all get through", func(t *testing.T) {
		const host, writing, each = "a.clients.com", 8, 10
		if _, err := records.Create(ctx, object(host, map[string]any{"ttl": int64(0)}), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		backoff := retry.DefaultBackoff
		backoff.Steps = 1000
		backoff.Factor = 1
		var wg sync.WaitGroup
		for range writing {
			wg.Go(func() {
				for range each {
					err := retry.RetryOnConflict(backoff, func() error {
						u, err := records.Get(ctx, host, metav1.GetOptions{})
						if err != nil {
							return err
						}
						ttl, _, _ := unstructured.NestedInt64(u.Object, "spec", "ttl")
						if err := unstructured.SetNestedField(u.Object, ttl+1, "spec", "ttl"); err != nil {
							return err
						}
						_, err = records.Update(ctx, u, metav1.UpdateOptions{})
						return err
					})
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		u, err := records.Get(ctx, host, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if ttl, _, _ := unstructured.NestedInt64(u.Object, "spec", "ttl"); ttl != writing*each {
			t.Errorf("ttl is %d after %d increments", ttl, writing*each)
		}
		if u.GetGeneration() != 1+writing*each {
			t.Errorf("the generation is %d after %d changes of the spec", u.GetGeneration(), writing*each)
		}
	})
	t.Run("preconditions of a deletion are held", func(t *testing.T) {
		u, err := records.Create(ctx, object("b.clients.com", nil), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		other := types.UID("00000000-0000-0000-0000-000000000000")
		if err := records.Delete(ctx, u.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &other}}); !apierrors.IsConflict(err) {
			t.Errorf("deleting another uid: %v, want a conflict", err)
		}
		uid, revision := u.GetUID(), u.GetResourceVersion()
		if err := records.Delete(ctx, u.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &revision}}); err != nil && !apierrors.IsConflict(err) {
			t.Errorf("deleting the right one: %v", err)
		}
	})
	t.Run("an informer of metadata alone, and a collection deleted", func(t *testing.T) {
		client, err := metadata.NewForConfig(clientConfig)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		factory := metadatainformer.NewSharedInformerFactory(client, 0)
		informer := factory.ForResource(recordsResource)
		if _, err := informer.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{}); err != nil {
			t.Fatal(err)
		}
		factory.Start(ctx.Done())
		if !cache.WaitForCacheSync(ctx.Done(), informer.Informer().HasSynced) {
			t.Fatal("the informer does not become synchronous")
		}
		if _, err := informer.Lister().Get("a.clients.com"); err != nil {
			t.Error(err)
		}
		if err := records.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		eventually(t, 10*time.Second, "the informer to see the deletions", func() error {
			if keys := informer.Informer().GetStore().ListKeys(); len(keys) > 0 {
				return errorf("it still holds %v", keys)
			}
			return nil
		})
	})
}

// Caddy's own protection of its admin endpoint holds on our paths.
func TestConformanceAdminEndpointIsGuarded(t *testing.T) {
	start(t, network(t), settings{checkInterval: time.Hour})
	for _, c := range []struct {
		name   string
		change func(*http.Request)
		want   int
	}{
		{"its own name", func(*http.Request) {}, http.StatusOK},
		{"localhost", func(r *http.Request) { r.Host = "localhost:2019" }, http.StatusOK},
		{"a foreign Host, as by DNS rebinding", func(r *http.Request) { r.Host = "attacker.com:2019" }, http.StatusForbidden},
		{"a foreign Origin, as from a web page", func(r *http.Request) { r.Header.Set("Origin", "https://attacker.com") }, http.StatusForbidden},
		{"a request of a web page that hides its origin", func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "no-cors") }, http.StatusBadRequest},
	} {
		for _, path := range []string{recordsPath, recordsPath + "?watch=true&timeoutSeconds=1", "/apis", "/openapi/v2", "/version"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, adminURL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			c.change(req)
			answer, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			if answer.StatusCode != c.want {
				t.Errorf("%s: GET %s gives %d, want %d: %s", c.name, path, answer.StatusCode, c.want, body)
			}
		}
	}
}
