package apiserver

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

// spoil has the store's file, while it is open, lose a bit of a text.
func (w *world) spoil(text string) {
	w.t.Helper()
	storetest.Spoil(w.t, w.store.(*boltstore.Store).Path(), text)
}

// raw writes a value past the API, as a bug would.
func (w *world) raw(key, value string) {
	w.t.Helper()
	if _, err := w.store.Write(w.t.Context(), store.Op{Key: key, Value: []byte(value), If: store.Any}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) hasKey(key string) bool {
	w.t.Helper()
	res, err := w.store.List(w.t.Context(), key, store.ListOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range res.KeyValues {
		if e.Key == key {
			return true
		}
	}
	return false
}

// damages make the record named spoilt, for b.example.com, unreadable.
var damages = map[string]func(w *world, r *v1alpha3.DomainRecord){
	"its checksum does not hold": func(w *world, r *v1alpha3.DomainRecord) { w.spoil(`"uid":"` + string(r.UID)) },
	"it is cut off": func(w *world, _ *v1alpha3.DomainRecord) {
		w.raw(recordKey("spoilt"), `{"metadata":{"name":"spoilt","la`)
	},
	"it is no JSON":                     func(w *world, _ *v1alpha3.DomainRecord) { w.raw(recordKey("spoilt"), `secret`) },
	"it is empty":                       func(w *world, _ *v1alpha3.DomainRecord) { w.raw(recordKey("spoilt"), ``) },
	"it is a list":                      func(w *world, _ *v1alpha3.DomainRecord) { w.raw(recordKey("spoilt"), `["secret"]`) },
	"it has no metadata":                func(w *world, _ *v1alpha3.DomainRecord) { w.raw(recordKey("spoilt"), `{"spec":{"name":"secret"}}`) },
	"a member of metadata is misplaced": func(w *world, _ *v1alpha3.DomainRecord) { w.raw(recordKey("spoilt"), `{"metadata":["secret"]}`) },
}

func TestADamagedRecordHarmsItselfAlone(t *testing.T) {
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			for _, host := range []string{"a.example.com", "c.example.com"} {
				w.create(host, `"labels":{"core.apoxy.dev/owner":"acme"}`)
			}
			r := w.create("b.example.com", `"name":"spoilt","labels":{"core.apoxy.dev/owner":"acme"}`)
			watch := w.watch("resourceVersion=" + w.call("GET", base+"?limit=1", "").want(200).list().ResourceVersion)
			damage(w, r)
			_, rev, _ := w.store.Get(t.Context(), "none")

			one := base + "/spoilt"
			for _, c := range []struct{ method, path, body, typ string }{
				{"GET", one, "", ""},
				{"GET", one + "/status", "", ""},
				{"POST", one + "/check", "", ""},
				{"PUT", one, manifest("b.example.com", `"name":"spoilt"`, `"resourceVersion":"5"`), "application/json"},
				{"PUT", one + "/status", manifest("b.example.com", `"name":"spoilt"`, `"resourceVersion":"5"`), "application/json"},
				{"PATCH", one, `{"metadata":{"labels":{"x":"y"}}}`, mergeHeader},
				{"PATCH", one, `[]`, jsonHeader},
				{"PATCH", one + "?fieldManager=x", `{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","spec":{"ttl":60}}`, applyHeader},
			} {
				st := w.call(c.method, c.path, c.body, "Content-Type", c.typ).status(500, metav1.StatusReasonInternalError)
				for _, says := range []string{`"spoilt"`, "damaged", "Delete the record by its name", "store verify", "backup"} {
					if !strings.Contains(st.Message, says) {
						t.Errorf("%s %s: %q does not say %q", c.method, c.path, st.Message, says)
					}
				}
				for _, tells := range []string{"secret", "b.example.com", string(r.UID)[1:]} {
					if strings.Contains(st.Message, tells) {
						t.Errorf("%s %s: %q tells of the value", c.method, c.path, st.Message)
					}
				}
			}
			leftOut(t, w)

			w.call("POST", base, manifest("d.example.com", `"name":"spoilt"`)).status(409, metav1.StatusReasonAlreadyExists)
			w.call("POST", base, manifest("b.example.com")).status(409, metav1.StatusReasonAlreadyExists)
			w.call("DELETE", one, `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"uid":"`+string(r.UID)+`"}}`).status(409, metav1.StatusReasonConflict)
			w.call("DELETE", one, `{"kind":"DeleteOptions","apiVersion":"v1","preconditions":{"resourceVersion":"1"}}`).status(409, metav1.StatusReasonConflict)
			w.call("DELETE", one+"?dryRun=All", "").want(200)
			if !w.hasKey(recordKey("spoilt")) || !w.hasKey(hostnameKey("b.example.com")) {
				t.Fatal("a dry run deleted it")
			}
			st := new(metav1.Status)
			if w.call("DELETE", one, "").want(200).into(st); st.Status != metav1.StatusSuccess || st.Details.Name != "spoilt" {
				t.Errorf("deletion answers %+v", st)
			}
			if w.hasKey(recordKey("spoilt")) || w.hasKey(hostnameKey("b.example.com")) {
				t.Error("something of it is left")
			}
			if got := w.holder("b.example.com"); got != "-" {
				t.Errorf("the holder remembered is %q: it was made up", got)
			}
			if !w.hasKey(hostnameKey("a.example.com")) {
				t.Error("another's hostname is gone")
			}
			w.call("DELETE", one, "").status(404, metav1.StatusReasonNotFound)
			again := w.create("b.example.com", `"name":"spoilt"`)

			var gone, added struct{ Metadata metav1.ObjectMeta }
			e, _ := watch.next()
			if err := json.Unmarshal(e.Object, &gone); err != nil || e.Type != "DELETED" || gone.Metadata.Name != "spoilt" || gone.Metadata.UID != "" || gone.Metadata.ResourceVersion <= formatRevision(rev) {
				t.Errorf("got %s %s, want the deletion by name", e.Type, e.Object)
			}
			e, _ = watch.next()
			if err := json.Unmarshal(e.Object, &added); err != nil || e.Type != "ADDED" || added.Metadata.UID != again.UID {
				t.Errorf("got %s %s, want the new record", e.Type, e.Object)
			}
		})
	}
}

// leftOut lists in all ways, of which none shows the record named spoilt.
func leftOut(t *testing.T, w *world) {
	t.Helper()
	both := "a.example.com c.example.com"
	for query, want := range map[string]string{
		"": both, "?labelSelector=core.apoxy.dev/owner%3Dacme": both,
		"?fieldSelector=spec.target.ref.name%3Ddefault": both,
		"?fieldSelector=metadata.name%3Dspoilt":         "", "?fieldSelector=spec.name%3Db.example.com": "",
		"?fieldSelector=metadata.name!%3Dspoilt": both,
	} {
		for _, limit := range []string{"", "1", "2", "3"} {
			path, got := base+query, []string{}
			if limit != "" {
				path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "limit=" + limit
			}
			for next := path; next != ""; {
				l := w.call("GET", next, "").want(200).list()
				for _, r := range l.Items {
					got = append(got, r.Name)
				}
				if next = ""; l.Continue != "" {
					next = path + "&continue=" + l.Continue
				}
			}
			if names := strings.Join(got, " "); names != want {
				t.Errorf("%s lists %q, want %q", path, names, want)
			}
		}
	}
	for _, accept := range []string{
		"application/json;as=Table;v=v1;g=meta.k8s.io",
		"application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
		"application/yaml",
	} {
		a := w.call("GET", base, "", "Accept", accept).want(200)
		if text := string(a.body); strings.Contains(text, "spoilt") || strings.Contains(text, "secret") || !strings.Contains(text, "c.example.com") {
			t.Errorf("as %s: %s", accept, text)
		}
	}
	initial := w.watch("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
	for _, want := range []string{"ADDED a.example.com", "ADDED c.example.com", "BOOKMARK "} {
		e, _ := initial.next()
		var o struct{ Metadata metav1.ObjectMeta }
		if err := json.Unmarshal(e.Object, &o); err != nil || e.Type+" "+o.Metadata.Name != want {
			t.Errorf("initial event %s %s, want %s", e.Type, e.Object, want)
		}
	}
}

func TestAHostnameOfNoRecordIsFreeAgain(t *testing.T) {
	w := newWorld(t)
	w.raw(hostnameKey("orphan.example.com"), "nobody")
	w.call("POST", base+"?dryRun=All", manifest("orphan.example.com")).want(409)
	w.create("orphan.example.com")
	w.call("POST", base, manifest("orphan.example.com", `"name":"second"`)).want(409)

	// The hostname's entry is damaged, and its record is not.
	w.create("held.example.com", `"name":"holder"`)
	w.raw(hostnameKey("held.example.com"), "spoilt below")
	w.raw(hostnameKey("lost.example.com"), "spoilt below")
	w.spoil("spoilt below")
	w.call("POST", base, manifest("held.example.com")).status(409, metav1.StatusReasonAlreadyExists)
	if l := w.call("GET", base+"?fieldSelector=spec.name%3Dheld.example.com", "").want(200).list(); len(l.Items) != 1 || l.Items[0].Name != "holder" {
		t.Errorf("found by its hostname: %+v", l.Items)
	}
	w.call("DELETE", base+"/holder", "").want(200)
	w.create("held.example.com")

	// While a record is damaged nobody can tell that the hostname is not its.
	w.raw(recordKey("spoilt"), "secret")
	w.call("POST", base, manifest("lost.example.com")).status(409, metav1.StatusReasonAlreadyExists)
	w.call("DELETE", base+"/spoilt", "").want(200)
	w.create("lost.example.com")
}

// The entry of a hostname outlived its record, which may have been verified: then
// it was remembered at that moment, and still is.
func TestWhoHeldALostRecordIsNotForgotten(t *testing.T) {
	w := newWorld(t)
	h := ownership.Holder{Owner: "alice", UID: "lost"}
	holder, err := h.Encode()
	if err != nil {
		t.Fatal(err)
	}
	w.raw(ownership.ReleasedKey("orphan.example.com"), string(holder))
	w.raw(hostnameKey("orphan.example.com"), "nobody")
	w.raw(hostnameKey("spoilt.example.com"), "spoilt below")
	w.spoil("spoilt below")
	for host, want := range map[string]string{"orphan.example.com": "alice", "spoilt.example.com": "-"} {
		w.create(host)
		if got := w.holder(host); got != want {
			t.Errorf("%s: the holder remembered is %q, want %q", host, got, want)
		}
	}
}

// Who held a hostname cannot be read: the record is deleted all the same, and
// only one that was proven takes the place in that memory.
func TestADamagedHolderHindersNoDeletion(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", `"labels":{"core.apoxy.dev/owner":"acme"}`)
	w.raw(ownership.ReleasedKey("a.example.com"), "spoilt below")
	w.spoil("spoilt below")
	w.call("DELETE", base+"/a.example.com", "").want(200)
	if _, _, err := w.store.Get(t.Context(), ownership.ReleasedKey("a.example.com")); !errors.Is(err, store.ErrDamaged) {
		t.Errorf("an unproven record took the place of a holder who cannot be read: %v", err)
	}
}
