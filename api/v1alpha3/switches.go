package v1alpha3

import (
	"bytes"
	"encoding/json"
	"slices"

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
	{Path: []string{"spec", "target", "redirect"},
		Mend: "say where it leads, such as `redirect: {hostname: www.example.com}`, or leave redirect out and give ref"},
	{Path: []string{"spec", "target", "redirect", "path"},
		Mend: "say what becomes of the path, such as `path: {type: ReplaceFullPath, replaceFullPath: /}`, or leave path out to keep it"},
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
	return nullsIn(record, 0, switches)
}

// nullsIn returns the errors for an object, depth members down, that lies on the
// paths of some switches. Each object is decoded once.
func nullsIn(object []byte, depth int, through []Switch) field.ErrorList {
	var members map[string]json.RawMessage
	if json.Unmarshal(object, &members) != nil {
		return nil
	}
	var errs field.ErrorList
	for i, s := range through {
		key := s.Path[depth]
		first := slices.IndexFunc(through, func(s Switch) bool { return s.Path[depth] == key }) == i
		value, there := members[key]
		switch {
		case !there:
		case len(s.Path) == depth+1 && string(value) == "null":
			errs = append(errs, field.Invalid(field.NewPath(s.Path[0], s.Path[1:]...), nil,
				"must not be null, which says neither that it is wanted nor that it is not: "+s.Mend))
		case first:
			var deeper []Switch
			for _, s := range through {
				if s.Path[depth] == key && len(s.Path) > depth+1 {
					deeper = append(deeper, s)
				}
			}
			errs = append(errs, nullsIn(value, depth+1, deeper)...)
		}
	}
	return errs
}
