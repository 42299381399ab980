package apiserver

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

func owner(name string) string { return `"labels":{"core.apoxy.dev/owner":"` + name + `"}` }

func replacing(name string) string {
	return `"annotations":{"core.apoxy.dev/replaces":"` + name + `"}`
}

// establish writes, as the controller does, what it has established of a record.
func (w *world) establish(name string, change func(o *v1alpha3.OwnershipStatus)) {
	w.t.Helper()
	w.rewrite(name, func(r *v1alpha3.DomainRecord) { change(r.Status.Ownership) })
}

// rewrite changes a record in the store.
func (w *world) rewrite(name string, change func(r *v1alpha3.DomainRecord)) {
	w.t.Helper()
	e, _, err := w.store.Get(context.Background(), recordKey(name))
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := decodeKeyValue(e)
	if err != nil {
		w.t.Fatal(err)
	}
	change(r)
	r.ResourceVersion = ""
	data, err := json.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := w.store.Write(context.Background(), store.Op{Key: recordKey(name), Value: data, If: e.Revision}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) verify(name string) {
	w.establish(name, func(o *v1alpha3.OwnershipStatus) {
		at := metav1.Now()
		o.Verified, o.VerifiedTime, o.Proof = true, &at, v1alpha3.ReasonApoxyChallengeConfigured
	})
}

// holder is who is remembered to have held a hostname, "-" for nobody.
func (w *world) holder(hostname string) string {
	e, _, err := w.store.Get(context.Background(), ownership.ReleasedKey(hostname))
	if err != nil {
		return "-"
	}
	p, err := ownership.DecodeHolder(e.Value)
	if err != nil || p.Unknown {
		return "?"
	}
	return p.Owner
}

func TestWhoHeldAHostnameIsRemembered(t *testing.T) {
	w := newWorld(t)
	const host = "a.example.com"
	is := func(want string) {
		t.Helper()
		if got := w.holder(host); got != want {
			t.Errorf("the holder remembered is %q, want %q", got, want)
		}
	}
	end := func() { t.Helper(); w.call("DELETE", base+"/"+host, "").want(200) }

	w.create(host, owner("alice"))
	end()
	is("-") // an unproven record leaves no trace
	w.create(host, owner("alice"))
	w.verify(host)
	end()
	is("alice")
	w.create(host, owner("bob"))
	end()
	is("alice")
	w.create(host)
	w.verify(host)
	end()
	is("") // the empty owner is one, too

	// A label that changes while the record is verified hands the hostname over,
	// whether or not it is verified when it goes; one that changes later does not.
	w.create(host, owner("alice"))
	w.verify(host)
	w.merge(host, `{"metadata":{`+owner("bob")+`}}`).want(200)
	is("bob")
	w.establish(host, func(o *v1alpha3.OwnershipStatus) {
		if o.Owner != "bob" {
			t.Errorf("the holder written with the label is %q", o.Owner)
		}
		o.Verified = false
	})
	w.merge(host, `{"metadata":{`+owner("carol")+`}}`).want(200)
	end()
	is("bob")

	// Held by finalizers, it is remembered when it goes.
	w.create(host, owner("dave"), `"finalizers":["example.com/hold"]`)
	w.verify(host)
	end()
	is("bob")
	w.merge(host, `{"metadata":{"finalizers":null}}`).want(200)
	is("dave")
}

// A status of before the controller kept apart what it establishes is taken at
// its word when the label changes, not after.
func TestWhoHeldARecordOfBeforeIsRemembered(t *testing.T) {
	for _, c := range []struct{ status, reason, want string }{
		{"False", v1alpha3.ReasonProofWithdrawn, "alice"},
		{"True", v1alpha3.ReasonCNAMEConfigured, "bob"},
		{"False", v1alpha3.ReasonOwnershipNotVerified, "-"},
	} {
		w := newWorld(t)
		w.create("a.example.com", owner("alice"))
		w.rewrite("a.example.com", func(r *v1alpha3.DomainRecord) {
			r.Status.Ownership = nil
			r.Status.Conditions = []metav1.Condition{{Type: v1alpha3.ConditionOwnershipVerified,
				Status: metav1.ConditionStatus(c.status), Reason: c.reason, LastTransitionTime: metav1.Now()}}
		})
		w.merge("a.example.com", `{"metadata":{`+owner("bob")+`}}`).want(200)
		w.call("DELETE", base+"/a.example.com", "").want(200)
		if got := w.holder("a.example.com"); got != c.want {
			t.Errorf("%s %s: the holder remembered is %q, want %q", c.status, c.reason, got, c.want)
		}
	}
}

// Every way that a client has of writing a status.
func TestNoClientOpensTheGate(t *testing.T) {
	w := newWorld(t)
	const host = "a.example.com"
	w.create(host)
	forged := `"status":{"phase":"Active","observedGeneration":1,"ownership":{"verified":true,"proof":"CNAMEConfigured","owner":"x","token":true,` +
		`"verifiedTime":"2036-01-01T00:00:00Z"},"conditions":[{"type":"OwnershipVerified","status":"True","reason":"CNAMEConfigured","message":"m","lastTransitionTime":"2036-01-01T00:00:00Z"}]}`
	check := func(what string, overwritten bool) {
		t.Helper()
		r := w.get(host)
		o := r.Status.Ownership
		if r.Verified() || r.Proven() || o == nil || o.Verified || o.VerifiedTime != nil || o.Owner != "" || o.Overwritten != overwritten {
			t.Errorf("%s: established is %+v, verified %v", what, o, r.Verified())
		}
	}
	check("created", false)
	w.merge(host, `{`+forged+`}`).want(200)
	check("a patch of the record", false)
	w.call("PATCH", base+"/"+host+"/status", `{"status":{"conditions":[{"type":"Sunny","status":"True","reason":"Summer","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`,
		"Content-Type", "application/merge-patch+json").want(200)
	check("a status without our conditions", false)
	for _, p := range []struct{ what, method, path, body, media string }{
		{"a merge patch", "PATCH", "/status", `{` + forged + `}`, "application/merge-patch+json"},
		{"a JSON patch", "PATCH", "/status", `[{"op":"add","path":"/status/ownership","value":{"verified":true,"verifiedTime":"2036-01-01T00:00:00Z"}}]`, "application/json-patch+json"},
		{"a JSON patch that removes it", "PATCH", "/status", `[{"op":"remove","path":"/status/ownership"}]`, "application/json-patch+json"},
		{"server-side apply", "PATCH", "/status?fieldManager=m&force=true", `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord",` + forged + `}`, "application/apply-patch+yaml"},
		{"a patch of null", "PATCH", "/status", `{"status":null}`, "application/merge-patch+json"},
		{"a patch of the ownership to null", "PATCH", "/status", `{"status":{"ownership":null}}`, "application/merge-patch+json"},
	} {
		w.call(p.method, base+"/"+host+p.path, p.body, "Content-Type", p.media).want(200)
		check(p.what, true)
	}
	body := w.get(host)
	if err := json.Unmarshal([]byte(`{`+forged+`}`), body); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	w.call("PUT", base+"/"+host+"/status", string(raw)).want(200)
	check("an update", true)

	w.call("DELETE", base+"/"+host, "").want(200)
	if got := w.holder(host); got != "-" {
		t.Errorf("a forged status makes %q a holder", got)
	}
	w.call("POST", base, strings.Replace(manifest(host), `"spec"`, forged+`,"spec"`, 1)).want(201)
	check("created with a status", false)
}

func TestAnUnprovenClaimBlocksNobody(t *testing.T) {
	w := newWorld(t)
	const host = "a.example.com"
	post := func(meta ...string) *answer { return w.call("POST", base, manifest(host, meta...)) }
	refused := func(a *answer, words ...string) {
		t.Helper()
		st := a.status(409, metav1.StatusReasonAlreadyExists)
		for _, word := range words {
			if !strings.Contains(st.Message, word) {
				t.Errorf("message %q lacks %q", st.Message, word)
			}
		}
	}
	first := post(owner("alice"), `"name":"claim"`).want(201).record()
	refused(post(owner("bob")), `"claim"`, "not verified", "core.apoxy.dev/replaces: claim")
	refused(post(owner("bob"), replacing("other")), `"claim"`, `"other"`)
	refused(post(owner("alice"), replacing("claim")), "same owner")
	if got := post(owner("bob"), replacing("claim"), `"name":"claim"`); got.code != 201 {
		t.Fatalf("under the same name: %d %s", got.code, got.body)
	} else if r := got.record(); r.UID == first.UID || r.Generation != 1 || r.Owner() != "bob" {
		t.Errorf("replaced by %+v", r.ObjectMeta)
	}
	if got := w.holder(host); got != "-" {
		t.Errorf("an unproven claim makes %q a holder", got)
	}
	w.call("POST", base+"?dryRun=All", manifest(host, owner("carol"), replacing("claim"))).want(201)
	if r := w.get("claim"); r.Owner() != "bob" {
		t.Errorf("a dry run has replaced it by %s", r.Owner())
	}
	post(owner("carol"), replacing("claim")).want(201)
	w.call("GET", base+"/claim", "").status(404, metav1.StatusReasonNotFound)
	if r := w.get(host); r.Owner() != "carol" {
		t.Errorf("under another name: %+v", r.ObjectMeta)
	}

	// Once verified it is never replaced; once it has fallen it is, and remembered.
	w.verify(host)
	refused(post(owner("bob"), replacing(host)), "verified")
	w.establish(host, func(o *v1alpha3.OwnershipStatus) { o.Verified, o.Owner = false, "carol" })
	post(owner("bob"), replacing(host)).want(201)
	if got := w.holder(host); got != "carol" {
		t.Errorf("the holder remembered is %q", got)
	}

	// The annotation does nothing where nobody is, and takes nobody's name.
	w.create("free.example.com", owner("bob"), replacing("nobody"))
	w.call("POST", base, manifest("b.example.com", owner("carol"), `"name":"free.example.com"`, replacing("free.example.com"))).
		status(409, metav1.StatusReasonAlreadyExists)

	// By server-side apply, too.
	w.call("PATCH", base+"/mine?fieldManager=m", `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{`+
		owner("dave")+`,`+replacing(host)+`},"spec":{"name":"`+host+`","target":{"ref":{"kind":"Gateway","name":"default"}}}}`,
		"Content-Type", "application/apply-patch+yaml").want(201)
	w.call("GET", base+"/"+host, "").status(404, metav1.StatusReasonNotFound)
}

func TestManyReplaceAtOnce(t *testing.T) {
	w := newWorld(t)
	const host = "a.example.com"
	w.create(host, owner("squatter"))
	codes := make(chan int)
	const n = 16
	for i := range n {
		go func() {
			req, err := http.NewRequest("POST", w.http.URL+base, strings.NewReader(manifest(host, owner(fmt.Sprint("o", i)), fmt.Sprintf(`"name":"n%d"`, i), replacing(host))))
			if err != nil {
				panic(err)
			}
			req.Header.Set("Content-Type", "application/json")
			res, err := w.http.Client().Do(req)
			if err != nil {
				panic(err)
			}
			res.Body.Close()
			codes <- res.StatusCode
		}()
	}
	won := 0
	for range n {
		switch code := <-codes; code {
		case 201:
			won++
		case 409:
		default:
			t.Errorf("status %d", code)
		}
	}
	if l := w.call("GET", base, "").list(); won != 1 || len(l.Items) != 1 {
		t.Errorf("%d replaced it, %d records are there", won, len(l.Items))
	}
}

// Watchers see the record that goes before the one that comes, and whoever has
// heard of the first alone and resumes from its revision hears of the second.
func TestWatchersSeeAReplacement(t *testing.T) {
	for _, name := range []string{"claim", "other"} {
		t.Run("by "+name, func(t *testing.T) {
			w := newWorld(t)
			const host = "a.example.com"
			first := w.create(host, owner("alice"), `"name":"claim"`)
			second := w.create(host, owner("bob"), replacing("claim"), `"name":"`+name+`"`)
			watch := func(from string) (kinds []string, versions []string) {
				res, err := w.http.Client().Get(w.http.URL + base + "?watch=true&timeoutSeconds=1&resourceVersion=" + from)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				for lines := bufio.NewScanner(res.Body); lines.Scan(); {
					var e struct {
						Type   string
						Object v1alpha3.DomainRecord
					}
					if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
						t.Fatal(err)
					}
					kinds = append(kinds, e.Type+" "+string(e.Object.UID))
					versions = append(versions, e.Object.ResourceVersion)
				}
				return kinds, versions
			}
			kinds, versions := watch(first.ResourceVersion)
			want := fmt.Sprintf("[DELETED %s ADDED %s]", first.UID, second.UID)
			if fmt.Sprint(kinds) != want || versions[1] != second.ResourceVersion {
				t.Fatalf("seen %v at %v, want %s", kinds, versions, want)
			}
			if kinds, _ = watch(versions[0]); len(kinds) == 0 || kinds[len(kinds)-1] != "ADDED "+string(second.UID) {
				t.Errorf("after resuming from the deletion: %v", kinds)
			}
			if kinds, _ = watch(versions[1]); len(kinds) != 0 {
				t.Errorf("after resuming from the end: %v", kinds)
			}
		})
	}
}

func TestDeleteUnproven(t *testing.T) {
	w := newWorld(t)
	r := w.create("a.example.com")
	ask := func(uid types.UID) {
		t.Helper()
		if err := w.s.DeleteUnproven(t.Context(), r.Name, uid); err != nil {
			t.Fatal(err)
		}
	}
	ask("another")
	w.get(r.Name)
	w.verify(r.Name)
	ask(r.UID)
	w.get(r.Name)
	w.establish(r.Name, func(o *v1alpha3.OwnershipStatus) { o.Verified = false })
	ask(r.UID)
	w.get(r.Name) // verified once, it stays
	w.establish(r.Name, func(o *v1alpha3.OwnershipStatus) { o.VerifiedTime = nil })
	ask(r.UID)
	w.call("GET", base+"/"+r.Name, "").status(404, metav1.StatusReasonNotFound)
	ask(r.UID) // gone already
}
