package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// formOf is the form of a page that is sent to a path ending in what, as a browser fills it.
func formOf(t *testing.T, text, what string) (action, filled string) {
	t.Helper()
	for _, form := range nodes(t, text) {
		to, _ := attr(form, "action")
		if method, _ := attr(form, "method"); form.Data != "form" || method != "post" || !strings.HasSuffix(to, what) {
			continue
		}
		v := url.Values{}
		for n := range form.Descendants() {
			name, _ := attr(n, "name")
			switch n.Data {
			case "input":
				value, _ := attr(n, "value")
				v.Set(name, value)
			case "select":
				v.Set(name, "keyCompromise")
			}
		}
		return to, v.Encode()
	}
	t.Fatalf("the page has no form for %s:\n%s", what, text)
	return "", ""
}

func TestWrites(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", served)
	const path = "/records/a.example.com"

	_, form := formOf(t, w.get(path).Text, "/check")
	if got := w.post(path+"/check", w.http.URL, form); got.StatusCode != http.StatusSeeOther || w.checked.Load() != 1 || !strings.Contains(w.get(path+"?done=checked").Text, "looked at just now") {
		t.Errorf("check: %s, %d looks", got.Status, w.checked.Load())
	} else if to, err := got.Location(); err != nil || to.Path != mount+path {
		t.Errorf("after a check the browser is at %v, %v", to, err)
	}

	_, form = formOf(t, w.get(path+"/revoke").Text, "/revoke")
	if got := w.post(path+"/revoke", w.http.URL, form); got.StatusCode != http.StatusSeeOther || w.revoked.Load() != 1 {
		t.Errorf("revoke: %s, %d revoked: %s", got.Status, w.revoked.Load(), got.Text)
	}

	_, form = formOf(t, w.get(path+"/delete").Text, "/delete")
	got := w.post(path+"/delete", w.http.URL, form)
	if got.StatusCode != http.StatusSeeOther || w.get(path).StatusCode != http.StatusNotFound {
		t.Errorf("delete: %s", got.Status)
	}
	if to, err := got.Location(); err != nil || to.Path != mount+"/records" {
		t.Errorf("after a deletion the browser is at %v, %v", to, err)
	}
}

// Nothing is done for another site's page, nor without what only this page's reader knows.
func TestWritesOfOthersAreRefused(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com", served)
	const path = "/records/a.example.com"
	for _, what := range []string{"/delete", "/revoke", "/check"} {
		page := path
		if what != "/check" {
			page += what
		}
		_, form := formOf(t, w.get(page).Text, what)
		for _, origin := range []string{"https://evil.example", "null", strings.Replace(w.http.URL, "http:", "https:", 1) + ".evil.example"} {
			if got := w.post(path+what, origin, form); got.StatusCode != http.StatusForbidden {
				t.Errorf("%s from %s: %s", what, origin, got.Status)
			}
		}
		for _, guessed := range []string{"", "uid=1&resourceVersion=1", "confirm=yes"} {
			if got := w.post(path+what, w.http.URL, guessed); got.StatusCode != http.StatusConflict {
				t.Errorf("%s with %q: %s", what, guessed, got.Status)
			}
		}
		if got := w.post(path+what, w.http.URL, form+"&more="+strings.Repeat("x", maxForm)); got.StatusCode != http.StatusBadRequest {
			t.Errorf("%s with a large form: %s", what, got.Status)
		}
	}
	if w.get(path).StatusCode != http.StatusOK || w.revoked.Load()+w.checked.Load() != 0 {
		t.Error("something was done")
	}
}

// A page that was open while the record was replaced, or only changed, does nothing to what
// is there now.
func TestAPageDoesNothingToAnotherRecord(t *testing.T) {
	w := newWorld(t)
	const path = "/records/a.example.com"
	w.create("a.example.com", served)
	forms := map[string]string{}
	for _, what := range []string{"/delete", "/revoke"} {
		_, forms[what] = formOf(t, w.get(path+what).Text, what)
	}
	_, forms["/check"] = formOf(t, w.get(path).Text, "/check")

	changed := w.call(http.MethodGet, "/a.example.com", nil)
	changed.Annotations = map[string]string{"note": "changed"}
	w.call(http.MethodPut, "/a.example.com", changed)
	for _, what := range []string{"/delete", "/revoke"} {
		got := w.post(path+what, w.http.URL, forms[what])
		if got.StatusCode != http.StatusConflict || !strings.Contains(got.Text, "has changed since") {
			t.Errorf("%s of a changed record: %s", what, got.Status)
		}
		if _, again := formOf(t, got.Text, what); again == forms[what] {
			t.Errorf("%s is not asked again of what there is now", what)
		}
	}

	w.call(http.MethodDelete, "/a.example.com", map[string]string{})
	w.create("a.example.com", served)
	for what, form := range forms {
		if got := w.post(path+what, w.http.URL, form); got.StatusCode != http.StatusConflict || !strings.Contains(got.Text, "Another record") {
			t.Errorf("%s of another record: %s", what, got.Status)
		}
	}
	if w.get(path).StatusCode != http.StatusOK || w.revoked.Load()+w.checked.Load() != 0 {
		t.Error("something was done to another record")
	}
}
