package apiserver

import (
	"encoding/json"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// put sends a record, changed, back to where it came from.
func (w *world) put(r *v1alpha3.DomainRecord, sub string, change func(*v1alpha3.DomainRecord)) *answer {
	w.t.Helper()
	next := r.DeepCopy()
	change(next)
	data, err := json.Marshal(next)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.call("PUT", base+"/"+r.Name+sub, string(data))
}

func TestUpdate(t *testing.T) {
	w := newWorld(t)
	r := w.create("a.example.com")
	t.Run("a changed spec moves the generation and leaves the status", func(t *testing.T) {
		w.now.Add(60)
		got := w.put(r, "", func(r *v1alpha3.DomainRecord) {
			r.Spec.Target.Ref.Name = "other"
			r.Status = v1alpha3.DomainRecordStatus{Phase: "Active"}
			r.CreationTimestamp = metav1.Time{}
		}).want(200).record()
		if got.Generation != 2 || got.Status.Phase != "Pending" || got.Spec.Target.Ref.Name != "other" ||
			got.UID != r.UID || !got.CreationTimestamp.Equal(&r.CreationTimestamp) {
			t.Errorf("updated to %+v", got)
		}
		r = got
	})
	t.Run("changed labels do not move the generation", func(t *testing.T) {
		got := w.put(r, "", func(r *v1alpha3.DomainRecord) { r.Labels = map[string]string{"a": "b"} }).want(200).record()
		if got.Generation != 2 || got.Labels["a"] != "b" || got.ResourceVersion == r.ResourceVersion {
			t.Errorf("updated to %+v", got.ObjectMeta)
		}
		r = got
	})
	t.Run("the same again does not move the revision", func(t *testing.T) {
		w.now.Add(60)
		got := w.put(r, "", func(*v1alpha3.DomainRecord) {}).want(200).record()
		if got.ResourceVersion != r.ResourceVersion {
			t.Errorf("revision moved from %s to %s", r.ResourceVersion, got.ResourceVersion)
		}
	})
	t.Run("the status alone is written through status", func(t *testing.T) {
		got := w.put(r, "/status", func(r *v1alpha3.DomainRecord) {
			r.Status.Phase = "Active"
			r.Spec.Target.Ref.Name = "third"
			r.Labels = nil
		}).want(200).record()
		if got.Status.Phase != "Active" || got.Spec.Target.Ref.Name != "other" || got.Labels["a"] != "b" || got.Generation != 2 {
			t.Errorf("updated to %+v", got)
		}
		r = got
	})
	for _, tc := range []struct {
		name   string
		sub    string
		change func(*v1alpha3.DomainRecord)
		code   int
		reason metav1.StatusReason
		field  string
	}{
		{"a stale revision", "", func(r *v1alpha3.DomainRecord) { r.ResourceVersion = "1" }, 409, metav1.StatusReasonConflict, ""},
		{"a stale revision of the status", "/status", func(r *v1alpha3.DomainRecord) { r.ResourceVersion = "1" }, 409, metav1.StatusReasonConflict, ""},
		{"no revision", "", func(r *v1alpha3.DomainRecord) { r.ResourceVersion = "" }, 422, metav1.StatusReasonInvalid, "metadata.resourceVersion"},
		{"another uid", "", func(r *v1alpha3.DomainRecord) { r.UID = "other" }, 409, metav1.StatusReasonConflict, ""},
		{"another hostname", "", func(r *v1alpha3.DomainRecord) { r.Spec.Name = "b.example.com" }, 422, metav1.StatusReasonInvalid, "spec.name"},
		{"another creation time", "", func(r *v1alpha3.DomainRecord) { r.CreationTimestamp = metav1.Unix(1, 0) }, 422, metav1.StatusReasonInvalid, "metadata.creationTimestamp"},
		{"an unknown phase", "/status", func(r *v1alpha3.DomainRecord) { r.Status.Phase = "Lost" }, 422, metav1.StatusReasonInvalid, "status.phase"},
		{"a condition without reason", "/status", func(r *v1alpha3.DomainRecord) {
			r.Status.Conditions = []metav1.Condition{{Type: "Ready", Status: "True", LastTransitionTime: metav1.Now()}}
		}, 422, metav1.StatusReasonInvalid, "status.conditions[0].reason"},
	} {
		t.Run("refused: "+tc.name, func(t *testing.T) {
			a := w.put(r, tc.sub, tc.change)
			a.t = t
			if got := causes(a.status(tc.code, tc.reason)); tc.field != "" && got != tc.field {
				t.Errorf("causes name %q, want %q: %s", got, tc.field, a.body)
			}
		})
	}
	t.Run("refused: a name that is not the URL's", func(t *testing.T) {
		w.call("PUT", base+"/"+r.Name, manifest("a.example.com", `"name":"b"`)).status(400, metav1.StatusReasonBadRequest)
	})
	t.Run("refused: a record that is not there", func(t *testing.T) {
		w.call("PUT", base+"/b", manifest("b.example.com", `"resourceVersion":"1"`)).status(404, metav1.StatusReasonNotFound)
	})
	t.Run("a conflict is said in the words that clients know", func(t *testing.T) {
		st := w.put(r, "", func(r *v1alpha3.DomainRecord) { r.ResourceVersion = "1" }).status(409, metav1.StatusReasonConflict)
		if want := `Operation cannot be fulfilled on domainrecords.core.apoxy.dev "a.example.com": the object has been modified; please apply your changes to the latest version and try again`; st.Message != want {
			t.Errorf("message %q", st.Message)
		}
	})
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	r := w.create("a.example.com")
	t.Run("preconditions are held to", func(t *testing.T) {
		w.call("DELETE", base+"/a.example.com", `{"preconditions":{"uid":"other"}}`).status(409, metav1.StatusReasonConflict)
		w.call("DELETE", base+"/a.example.com", `{"preconditions":{"resourceVersion":"1000"}}`).status(409, metav1.StatusReasonConflict)
	})
	t.Run("a dry run deletes nothing", func(t *testing.T) {
		w.call("DELETE", base+"/a.example.com?dryRun=All", "").want(200)
		w.get("a.example.com")
	})
	t.Run("the answer is a Status that names the record", func(t *testing.T) {
		var st metav1.Status
		w.call("DELETE", base+"/a.example.com", `{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground"}`).want(200).into(&st)
		if st.Status != metav1.StatusSuccess || st.Details.Name != "a.example.com" || st.Details.UID != r.UID || st.Details.Kind != "domainrecords" {
			t.Errorf("answered %+v", st)
		}
		w.call("DELETE", base+"/a.example.com", "").status(404, metav1.StatusReasonNotFound)
	})
	t.Run("the hostname is free again", func(t *testing.T) {
		if again := w.create("a.example.com"); again.UID == r.UID {
			t.Error("the uid was used again")
		}
	})
	t.Run("unknown options are refused", func(t *testing.T) {
		w.call("DELETE", base+"/a.example.com", `{"propagationPolicy":"Sideways"}`).status(422, metav1.StatusReasonInvalid)
		w.call("DELETE", base+"/a.example.com", `{`).status(400, metav1.StatusReasonBadRequest)
	})
}

func TestFinalizersHoldARecord(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", `"finalizers":["example.com/hold"]`)
	r := w.call("DELETE", base+"/a.example.com", "").want(200).record()
	if r.DeletionTimestamp == nil || r.Generation != 2 {
		t.Fatalf("deleted to %+v", r.ObjectMeta)
	}
	if again := w.call("DELETE", base+"/a.example.com", "").want(200).record(); again.ResourceVersion != r.ResourceVersion {
		t.Error("a second delete moved the revision")
	}
	w.call("POST", base, manifest("a.example.com", `"name":"b"`)).status(409, metav1.StatusReasonAlreadyExists)
	st := w.merge("a.example.com", `{"metadata":{"finalizers":["example.com/hold","example.com/more"]}}`).status(422, metav1.StatusReasonInvalid)
	if causes(st) != "metadata.finalizers" {
		t.Errorf("causes %q", causes(st))
	}
	w.merge("a.example.com", `{"metadata":{"finalizers":null}}`).want(200)
	w.call("GET", base+"/a.example.com", "").status(404, metav1.StatusReasonNotFound)
	w.create("a.example.com", `"name":"b"`)
}

func TestDeleteCollection(t *testing.T) {
	w := newWorld(t)
	for _, h := range []string{"a", "b", "c"} {
		w.create(h+".example.com", `"labels":{"group":"`+strings.ReplaceAll(h, "c", "x")+`"}`)
	}
	if l := w.call("DELETE", base+"?labelSelector=group+in+(a,b)&dryRun=All", "").want(200).list(); len(l.Items) != 2 {
		t.Errorf("a dry run names %d records", len(l.Items))
	}
	if l := w.call("DELETE", base+"?labelSelector=group+in+(a,b)", "").want(200).list(); len(l.Items) != 2 || l.Kind != "DomainRecordList" {
		t.Errorf("deleted %d records", len(l.Items))
	}
	if l := w.call("GET", base, "").list(); len(l.Items) != 1 || l.Items[0].Name != "c.example.com" {
		t.Errorf("left %+v", l.Items)
	}
}
