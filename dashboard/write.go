package dashboard

import (
	"net/http"
	"net/url"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Bounds on a form: its size in bytes, and how long a client may take to send it.
const (
	maxForm  = 16 << 10
	formTime = 10 * time.Second
)

// revocationReasons are those that a server's owner may have, by the names of RFC 5280
// section 5.3.1, with what they mean.
var revocationReasons = []pair{
	{"unspecified", "no reason given"},
	{"keyCompromise", "the key was lost or stolen"},
	{"superseded", "another certificate takes its place"},
	{"cessationOfOperation", "the hostname is not served any more"},
	{"affiliationChanged", "the domain has another owner"},
}

// confirmation is what a page asks before something is done that cannot be undone.
type confirmation struct {
	Record   *v1alpha3.DomainRecord
	What     string // the last segment of the path: revoke or delete
	Question string
	Means    string
	Button   string
	Reasons  []pair
	Back     string
	Changed  string // why it is asked again
}

func (d *Dashboard) confirm(w http.ResponseWriter, r *http.Request, rec *v1alpha3.DomainRecord, what, changed string) {
	c := confirmation{Record: rec, What: what, Changed: changed, Back: root(r.URL.EscapedPath()) + "records/" + url.PathEscape(rec.Name)}
	status := http.StatusOK
	if changed != "" {
		status = http.StatusConflict
	}
	switch what {
	case "delete":
		c.Question = "Delete the record of " + rec.Spec.Name + "?"
		c.Means = "The hostname is not served any more, and its zone entries go. This cannot be undone."
		c.Button = "Delete the record"
	case "revoke":
		c.Question = "Revoke the certificate of " + rec.Spec.Name + "?"
		c.Means = "It is revoked at its certificate authority and not used any more. Another one with a new key is obtained while the record stands; until then HTTPS fails."
		c.Button, c.Reasons = "Revoke the certificate", revocationReasons
	}
	d.send(w, r, status, "confirm", frame{Title: c.Question, Body: c})
}

// check answers POST records/NAME/check.
func (d *Dashboard) check(w http.ResponseWriter, r *http.Request, name string) {
	rec, form, ok := d.meant(w, r, name)
	if !ok {
		return
	}
	if string(rec.UID) != form.Get("uid") {
		d.fail(w, r, problem{http.StatusConflict, replacedWords})
		return
	}
	if err := d.api.do(r.Context(), http.MethodPost, name, "check", nil, nil); err != nil {
		d.refuse(w, r, err)
		return
	}
	seeOther(w, "../"+url.PathEscape(name)+"?done=checked")
}

// revoke answers GET and POST records/NAME/revoke.
func (d *Dashboard) revoke(w http.ResponseWriter, r *http.Request, name string) {
	d.confirmed(w, r, name, "revoke", func(uid, version string, form url.Values) error {
		q := url.Values{"uid": {uid}, "resourceVersion": {version}, "reason": {form.Get("reason")}}
		return d.api.do(r.Context(), http.MethodPost, name, "revoke", q, nil)
	})
}

// delete answers GET and POST records/NAME/delete.
func (d *Dashboard) delete(w http.ResponseWriter, r *http.Request, name string) {
	d.confirmed(w, r, name, "delete", func(uid, version string, _ url.Values) error {
		id := types.UID(uid)
		return d.api.do(r.Context(), http.MethodDelete, name, "", nil, metav1.DeleteOptions{
			TypeMeta:      metav1.TypeMeta{Kind: "DeleteOptions", APIVersion: "v1"},
			Preconditions: &metav1.Preconditions{UID: &id, ResourceVersion: &version},
		})
	})
}

const (
	replacedWords = "Another record has taken the place of the one that the page showed. Nothing was done."
	changedWords  = "The record has changed since the page was loaded. Nothing was done: this is how it is now."
)

// confirmed asks, and does what was confirmed of exactly the record, at the revision, that
// the page showed which asked. Who cannot read that page knows neither.
func (d *Dashboard) confirmed(w http.ResponseWriter, r *http.Request, name, what string, do func(uid, version string, form url.Values) error) {
	rec, form, ok := d.meant(w, r, name)
	switch {
	case !ok:
	case r.Method != http.MethodPost:
		d.confirm(w, r, rec, what, "")
	case form.Get("uid") != string(rec.UID):
		d.fail(w, r, problem{http.StatusConflict, replacedWords})
	case form.Get("resourceVersion") != rec.ResourceVersion:
		d.confirm(w, r, rec, what, changedWords)
	default:
		if err := do(form.Get("uid"), form.Get("resourceVersion"), form); err != nil {
			d.refuse(w, r, err)
			return
		}
		if what == "delete" {
			seeOther(w, "../../records?done=delete")
			return
		}
		seeOther(w, "../"+url.PathEscape(name)+"?done="+what)
	}
}

// meant reads the record and, of a POST, the form; ok is false if that was answered.
func (d *Dashboard) meant(w http.ResponseWriter, r *http.Request, name string) (rec *v1alpha3.DomainRecord, form url.Values, ok bool) {
	if r.Method == http.MethodPost {
		slow := http.NewResponseController(w)
		_ = slow.SetReadDeadline(time.Now().Add(formTime)) // where a server has no deadlines, its own bound holds
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		if err := r.ParseForm(); err != nil {
			d.fail(w, r, problem{http.StatusBadRequest, "The form could not be read: send it again."})
			return nil, nil, false
		}
		_ = slow.SetReadDeadline(time.Time{})
	}
	rec, _, err := d.api.get(r.Context(), name)
	if err != nil {
		d.refuse(w, r, err)
		return nil, nil, false
	}
	return rec, r.PostForm, true
}

// seeOther sends the browser to a page, relative to where it is.
func seeOther(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// doneWords is what was done before a page was shown.
func doneWords(done string) string {
	switch done {
	case "checked":
		return "The record was looked at just now."
	case "revoke":
		return "The certificate is revoked."
	case "delete":
		return "The record is deleted, or marked to be once its finalizers let go."
	}
	return ""
}
