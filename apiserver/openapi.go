package apiserver

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	openapi_v2 "github.com/google/gnostic-models/openapiv2"
	"google.golang.org/protobuf/proto"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// documents are the answers that never change while the server runs.
type documents struct {
	v2, v3       []byte
	v2Proto      []byte
	v2Tag, v3Tag string
	crd, crdMeta []byte
}

// v2Protobuf is the only form in which kubectl asks for OpenAPI v2.
const v2Protobuf = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"

func newDocuments(version string) (*documents, error) {
	d := new(documents)
	var err error
	if d.v2, err = json.Marshal(specV2(version)); err != nil {
		return nil, fmt.Errorf("encoding OpenAPI v2: %w", err)
	}
	doc, err := openapi_v2.ParseDocument(d.v2)
	if err != nil {
		return nil, fmt.Errorf("reading our OpenAPI v2: %w", err)
	}
	if d.v2Proto, err = proto.Marshal(doc); err != nil {
		return nil, fmt.Errorf("encoding OpenAPI v2 as protobuf: %w", err)
	}
	if d.v3, err = json.Marshal(specV3(version)); err != nil {
		return nil, fmt.Errorf("encoding OpenAPI v3: %w", err)
	}
	d.v2Tag, d.v3Tag = tag(d.v2), tag(d.v3)
	d.crd, d.crdMeta, err = encodeCRD()
	return d, err
}

func tag(data []byte) string {
	sum := sha256.Sum256(data)
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

// openAPIv2 answers /openapi/v2 as protobuf or JSON. The protobuf type is looked
// for as text, because mime refuses the @ in it.
func (c *call) openAPIv2() error {
	if strings.Contains(c.r.Header.Get("Accept"), v2Protobuf) {
		c.raw(strings.Replace(v2Protobuf, "@", ".", 1), c.s.docs.v2Tag, c.s.docs.v2Proto)
		return nil
	}
	if _, err := negotiate(c.r, nil, true); err != nil {
		return err
	}
	c.raw(typeJSON, c.s.docs.v2Tag, c.s.docs.v2)
	return nil
}

// openAPIv3 answers the index at /openapi/v3 and the one document in it.
func (c *call) openAPIv3(rest []string) error {
	path := "apis/" + v1alpha3.GroupVersion.String()
	switch strings.Join(rest, "/") {
	case "":
		return c.fixed(map[string]any{"paths": map[string]any{
			path: map[string]string{"serverRelativeURL": "/openapi/v3/" + path + "?hash=" + c.s.docs.v3Tag},
		}})()
	case path:
		if _, err := negotiate(c.r, nil, false); err != nil {
			return err
		}
		c.raw(typeJSON, c.s.docs.v3Tag, c.s.docs.v3)
		return nil
	}
	return errNotServed()
}

// raw sends a fixed document, or nothing if the client has it already.
func (c *call) raw(contentType, etag string, data []byte) {
	etag = `"` + etag + `"`
	b := c.body(http.StatusOK)
	h := c.w.Header()
	h.Set("Content-Type", contentType)
	h.Set("ETag", etag)
	if strings.Contains(c.r.Header.Get("If-None-Match"), etag) {
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = b.Write(data) // a client that went away is nobody's error
	_ = b.Close()        // as above
}

func refName(ref string) string { return ref[strings.LastIndex(ref, "/")+1:] }
