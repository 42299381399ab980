package apiserver

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The forms an object can be asked for in beside its own, by the parameter
// "as" of an Accept entry.
const (
	asTable        = "Table"
	asMetadata     = "PartialObjectMetadata"
	asMetadataList = "PartialObjectMetadataList"
	asDiscovery    = "APIGroupDiscoveryList"
)

// media is the form that an answer takes.
type media struct {
	yaml bool
	// as is one of the as… constants; empty: the object itself.
	as string
	// group and version of the as-form, such as meta.k8s.io and v1.
	group, version string
}

// apiVersion is that of the as-form.
func (m media) apiVersion() string { return m.group + "/" + m.version }

// contentType is the header that goes with the form.
func (m media) contentType() string {
	base := "application/json"
	if m.yaml {
		base = "application/yaml"
	}
	if m.as == asDiscovery {
		return base + ";g=" + m.group + ";v=" + m.version + ";as=" + m.as
	}
	return base
}

// offer is one acceptable as-form.
type offer struct {
	as, group string
	versions  []string
}

var (
	metaVersions = []string{"v1", "v1beta1"}
	objectOffers = []offer{{asTable, "meta.k8s.io", metaVersions}, {asMetadata, "meta.k8s.io", metaVersions}}
	listOffers   = []offer{{asTable, "meta.k8s.io", metaVersions}, {asMetadataList, "meta.k8s.io", metaVersions}}
	// A metadata client may name either form when it watches.
	watchOffers     = append(slices.Clone(objectOffers), offer{asMetadataList, "meta.k8s.io", metaVersions})
	discoveryOffers = []offer{{asDiscovery, "apidiscovery.k8s.io", []string{"v2"}}}
)

// accepted is one entry of an Accept header.
type accepted struct {
	typ     string
	params  map[string]string
	quality float64
}

// negotiate chooses the first entry of the Accept header that can be served
// (RFC 9110 section 12.5.1; among equal qualities the order decides, as
// Kubernetes clients rely on). Entries for protobuf, CBOR or an unknown form
// are passed over. None left: 406.
func negotiate(r *http.Request, offers []offer, stream bool) (media, error) {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(header) == "" {
		return media{}, nil
	}
	for _, a := range parseAccept(header) {
		m := media{}
		switch a.typ {
		case "*/*", "application/*", "application/json":
		case "application/yaml":
			if stream {
				continue
			}
			m.yaml = true
		default:
			continue
		}
		as := a.params["as"]
		if as == "" {
			return m, nil
		}
		for _, o := range offers {
			if o.as == as && o.group == a.params["g"] && slices.Contains(o.versions, a.params["v"]) {
				m.as, m.group, m.version = as, o.group, a.params["v"]
				return m, nil
			}
		}
	}
	return media{}, errNotAcceptable()
}

// maxAccept bounds an Accept header in bytes; a longer one names nothing.
const maxAccept = 4096

func parseAccept(header string) []accepted {
	var list []accepted
	if len(header) > maxAccept {
		return nil
	}
	for entry := range strings.SplitSeq(header, ",") {
		typ, params, err := mime.ParseMediaType(entry)
		if err != nil {
			continue
		}
		q := 1.0
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil || q <= 0 {
				continue
			}
		}
		list = append(list, accepted{typ: typ, params: params, quality: q})
	}
	slices.SortStableFunc(list, func(a, b accepted) int {
		switch {
		case a.quality > b.quality:
			return -1
		case a.quality < b.quality:
			return 1
		}
		return 0
	})
	return list
}

func errNotAcceptable() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status:  metav1.StatusFailure,
		Code:    http.StatusNotAcceptable,
		Reason:  metav1.StatusReasonNotAcceptable,
		Message: "only the following media types are accepted: application/json, application/yaml",
	}}
}

// errUnsupportedMedia is the answer to a body in none of the given types.
func errUnsupportedMedia(types ...string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure,
		Code:   http.StatusUnsupportedMediaType,
		Reason: metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: " +
			strings.Join(types, ", "),
	}}
}

// bodyType is the media type of the request's body without parameters; absent
// it is JSON, as Kubernetes has it.
func bodyType(r *http.Request) string {
	h := r.Header.Get("Content-Type")
	if h == "" {
		return "application/json"
	}
	typ, _, err := mime.ParseMediaType(h)
	if err != nil {
		return h
	}
	return typ
}
