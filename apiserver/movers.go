package apiserver

import "strings"

// apoxyFields are fields that Apoxy's DomainRecord has and this one has not,
// with what is in their place. docs/api.md has the whole table.
var apoxyFields = []struct{ field, hint string }{
	{"spec.zone", "there is no spec.zone here: the operator's one zone is in Caddy's configuration, and customers' zones stay with their DNS providers; leave it out"},
	{"spec.target.dns", "there is no spec.target.dns here: a record only attaches a hostname to a target.ref; the customer's DNS provider, or a zonefile of the configuration, serves other DNS data"},
}

// moversHints says of those fields that were refused or dropped what is here in
// their place. The errors themselves keep Kubernetes' words, which clients know.
func moversHints(strict []error) []string {
	var hints []string
	for _, f := range apoxyFields {
		for _, err := range strict {
			if strings.HasPrefix(err.Error(), `unknown field "`+f.field+`"`) {
				hints = append(hints, f.hint)
				break
			}
		}
	}
	return hints
}
