package v1alpha3

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Switch is an optional object of a record whose presence is what decides: the
// record without it is another one, not one with defaults.
type Switch struct {
	// Path leads to the object from the top of a record.
	Path []string
	// Empty: the object means something with nothing in it, so that `{}` has to
	// be kept. Where it is false an empty object is refused.
	Empty bool
	// Mend is what to write in place of null, as the end of a sentence.
	Mend string
}

// switches is every Switch of a DomainRecord. A test holds it against the types.
var switches = []Switch{
	{Path: []string{"spec", "tls"}, Empty: true,
		Mend: "write `tls: {}` for a certificate, or leave tls out for HTTP only"},
	{Path: []string{"spec", "target"},
		Mend: "name the target, such as `target: {ref: {kind: Gateway, name: default}}`"},
	{Path: []string{"spec", "target", "ref"},
		Mend: "name the target, such as `ref: {kind: Gateway, name: default}`"},
}

// Switches returns every Switch of a DomainRecord.
func Switches() []Switch { return slices.Clone(switches) }

// NullSwitches returns an error for every Switch at which a record's JSON says
// null. JSON decodes null as if the object were absent; whoever wrote `tls:` and
// nothing behind it hardly meant that. Text that is no JSON object has none.
func NullSwitches(record []byte) field.ErrorList {
	if !bytes.Contains(record, []byte("null")) {
		return nil
	}
	var errs field.ErrorList
	for _, s := range switches {
		if nullAt(record, s.Path) {
			errs = append(errs, field.Invalid(field.NewPath(s.Path[0], s.Path[1:]...), nil,
				"must not be null, which says neither that it is wanted nor that it is not: "+s.Mend))
		}
	}
	return errs
}

// nullAt reports whether null stands at a path of object members.
func nullAt(raw json.RawMessage, path []string) bool {
	for _, key := range path {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return false
		}
		var there bool
		if raw, there = members[key]; !there {
			return false
		}
	}
	return strings.TrimSpace(string(raw)) == "null"
}
