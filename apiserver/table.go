package apiserver

import (
	"encoding/json"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// includeObject is what the rows of a table carry beside their cells.
func (c *call) includeObject() (metav1.IncludeObjectPolicy, error) {
	switch p := metav1.IncludeObjectPolicy(c.query.Get("includeObject")); p {
	case "":
		return metav1.IncludeMetadata, nil
	case metav1.IncludeNone, metav1.IncludeMetadata, metav1.IncludeObject:
		return p, nil
	default:
		return "", apierrors.NewBadRequest(fmt.Sprintf("includeObject: Invalid value: %.64q: must be 'None', 'Metadata' or 'Object'", p))
	}
}

// tableHead is a table without rows; columns stand in the first table of a
// watch only.
func (s *Server) tableHead(m media, columns bool) *metav1.Table {
	t := &metav1.Table{
		TypeMeta:          metav1.TypeMeta{Kind: asTable, APIVersion: m.apiVersion()},
		ColumnDefinitions: []metav1.TableColumnDefinition{},
		Rows:              []metav1.TableRow{},
	}
	if columns {
		t.ColumnDefinitions = v1alpha3.TableColumns()
	}
	return t
}

func (s *Server) tableRow(r *v1alpha3.DomainRecord, m media, include metav1.IncludeObjectPolicy) (metav1.TableRow, error) {
	var next time.Time
	if s.cfg.NextLook != nil {
		next = s.cfg.NextLook(r.Name)
	}
	row := v1alpha3.TableRow(r, s.cfg.Now(), next)
	var object any
	switch include {
	case metav1.IncludeNone:
		return row, nil
	case metav1.IncludeObject:
		object = r
	default:
		object = partial(r, m)
	}
	raw, err := json.Marshal(object)
	if err != nil {
		return row, fmt.Errorf("encoding a table row for record %q: %w", r.Name, err)
	}
	row.Object = runtime.RawExtension{Raw: raw}
	return row, nil
}

// partial is a record's metadata alone.
func partial(r *v1alpha3.DomainRecord, m media) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{Kind: asMetadata, APIVersion: m.apiVersion()},
		ObjectMeta: r.ObjectMeta,
	}
}

// itemEncoder returns what turns a record's JSON, its resourceVersion in it,
// into an item of a list in the given form.
func (s *Server) itemEncoder(m media, include metav1.IncludeObjectPolicy) func(raw []byte) ([]byte, error) {
	if m.as == "" {
		return func(raw []byte) ([]byte, error) { return raw, nil }
	}
	return func(raw []byte) ([]byte, error) {
		r, err := decodeStored(raw)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errUndecodable, err)
		}
		var item any = partial(r, m)
		if m.as == asTable {
			row, err := s.tableRow(r, m, include)
			if err != nil {
				return nil, err
			}
			item = row
		}
		out, err := json.Marshal(item)
		if err != nil {
			return nil, fmt.Errorf("encoding an item for record %q: %w", r.Name, err)
		}
		return out, nil
	}
}
