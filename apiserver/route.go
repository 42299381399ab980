package apiserver

import (
	"net/http"
	"net/url"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// call is one request on its way through the server.
type call struct {
	s     *Server
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	// name and sub are the record and subresource that the path names.
	name, sub string
	// media is the negotiated form of the answer.
	media media
	// verb is what the answer's errors call the request: get, list, create, …
	verb string
	// warned is how many bytes of warnings were sent.
	warned int
}

// ServeHTTP answers one request; whatever goes wrong is a metav1.Status.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{s: s, w: w, r: r, verb: strings.ToLower(r.Method)}
	if err := c.serve(); err != nil {
		c.fail(err)
	}
}

func (c *call) serve() error {
	path, err := segments(c.r.URL)
	if err != nil {
		return err
	}
	if c.query, err = url.ParseQuery(c.r.URL.RawQuery); err != nil {
		return apierrors.NewBadRequest("parsing the query: " + err.Error())
	}
	if len(path) >= 4 && path[0] == "apis" && path[1] == v1alpha3.Group &&
		path[2] == v1alpha3.Version && path[3] == v1alpha3.Resource {
		return c.records(path[4:])
	}
	if of, gv, ok := reviewAt(path); ok {
		return c.review(of, gv)
	}
	return c.static(path)
}

// segments splits the path before it is unescaped, so that an escaped slash
// stays inside its segment.
func segments(u *url.URL) ([]string, error) {
	parts := strings.Split(strings.Trim(u.EscapedPath(), "/"), "/")
	for i, p := range parts {
		s, err := url.PathUnescape(p)
		if err != nil {
			return nil, apierrors.NewBadRequest("parsing the path: " + err.Error())
		}
		parts[i] = s
	}
	return parts, nil
}

// records serves what lies below …/domainrecords.
func (c *call) records(rest []string) error {
	switch len(rest) {
	case 0:
		return c.collection()
	case 1, 2:
		c.name = rest[0]
		if c.name == "" {
			return errNotServed()
		}
		if len(rest) == 2 {
			c.sub = rest[1]
		}
		return c.item()
	}
	return errNotServed()
}

func (c *call) collection() error {
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		return c.listOrWatch()
	case http.MethodPost:
		c.verb = "create"
		return c.create()
	case http.MethodPatch: // of a stream alone: in Kubernetes there is none of a collection
		if bodyType(c.r) == typeApplyStream {
			return c.applyStream()
		}
	case http.MethodDelete:
		c.verb = "deletecollection"
		return c.deleteCollection()
	}
	return c.notAllowed("GET, POST, DELETE")
}

func (c *call) item() error {
	switch c.sub {
	case "", "status":
	case "check":
		if c.r.Method != http.MethodPost {
			return c.notAllowed("POST")
		}
		c.verb = "create"
		return c.check()
	case "revoke":
		if c.r.Method != http.MethodPost {
			return c.notAllowed("POST")
		}
		c.verb = "create"
		return c.revoke()
	case "setuplink":
		if c.r.Method != http.MethodPost {
			return c.notAllowed("POST")
		}
		c.verb = "create"
		return c.setupLink()
	case "certificate":
		switch c.r.Method {
		case http.MethodPut:
			c.verb = "update"
			return c.certificate()
		case http.MethodDelete:
			return c.certificate()
		}
		return c.notAllowed("PUT, DELETE")
	default:
		return errNotServed()
	}
	switch c.r.Method {
	case http.MethodGet, http.MethodHead:
		c.verb = "get"
		return c.get()
	case http.MethodPut:
		c.verb = "update"
		return c.update()
	case http.MethodPatch:
		return c.patch()
	case http.MethodDelete:
		if c.sub == "" {
			return c.delete()
		}
	}
	if c.sub == "status" {
		return c.notAllowed("GET, PUT, PATCH")
	}
	return c.notAllowed("GET, PUT, PATCH, DELETE")
}

func (c *call) notAllowed(allow string) error {
	c.w.Header().Set("Allow", allow)
	return apierrors.NewMethodNotSupported(v1alpha3.GroupResource, strings.ToLower(c.r.Method))
}

// errNotServed is Kubernetes' answer to a path that it does not know.
func errNotServed() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusNotFound,
		Reason:  metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource",
		Details: &metav1.StatusDetails{},
	}}
}
