package domainconnect

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// maxTemplateRecords bounds the records that are gone through.
const maxTemplateRecords = 100

// fields are what records of each type need beside type.
var fields = map[string][]string{
	"A": {"host", "pointsTo", "ttl"}, "AAAA": {"host", "pointsTo", "ttl"}, "CNAME": {"host", "pointsTo", "ttl"}, "NS": {"host", "pointsTo", "ttl"},
	"TXT": {"host", "data", "ttl"}, "MX": {"host", "pointsTo", "ttl", "priority"},
	"SRV":  {"name", "target", "ttl", "priority", "protocol", "service", "weight", "port"},
	"SPFM": {"host", "spfRules"},
}

// recordFields are all fields that records have.
var recordFields = []string{
	"type", "groupId", "essential", "crit", "host", "name", "pointsTo", "ttl", "data", "txtConflictMatchingMode",
	"txtConflictMatchingPrefix", "priority", "weight", "port", "protocol", "service", "target", "spfRules",
}

// reserved are parameters of links, which no variable may be called.
var reserved = []string{
	"providerId", "serviceId", "redirect_uri", "state", "providerName", "serviceName", "groupId", "sig", "key", "crit",
	"client_id", "response_type", "scope", "instanceId",
}

// builtIn are the variables that providers fill in themselves.
var builtIn = []string{"domain", "host", "fqdn"}

func (l *linter) records(t map[string]any) {
	list, ok := t["records"].([]any)
	switch {
	case !ok:
		l.refuse("records", "expected a list of records")
		return
	case len(list) == 0:
		l.refuse("records", "empty: such a template does nothing")
	case len(list) > maxTemplateRecords:
		l.refuse("records", "more than %d", maxTemplateRecords)
		return
	}
	byName := map[string][]string{} // types by host
	for i, v := range list {
		at := fmt.Sprintf("records[%d].", i)
		r, ok := v.(map[string]any)
		if !ok {
			l.refuse(strings.TrimSuffix(at, "."), "expected a JSON object")
			continue
		}
		l.record(at, r)
		kind, _ := r["type"].(string)
		host, _ := r["host"].(string)
		if host == "" {
			host = "@"
		}
		byName[host] = append(byName[host], kind)
		if kind == "CNAME" && host == "@" && t["hostRequired"] != true {
			l.refuse("hostRequired", "a CNAME at %q needs it to be true: none can stand at the top of a zone", "@")
		}
	}
	for _, host := range sortedKeys(byName) {
		if kinds := byName[host]; slices.Contains(kinds, "CNAME") && len(kinds) > 1 {
			l.refuse("records", "beside a CNAME at %.80q stands %s: a CNAME is alone at its name (RFC 1034 section 3.6.2)", host, strings.Join(kinds, ", "))
		}
	}
}

func (l *linter) record(at string, r map[string]any) {
	kind, ok := l.text(r, at, "type", true)
	needs, known := fields[kind]
	if ok && !known {
		needs = []string{"host", "data", "ttl"} // a generic one
		if strings.ToUpper(kind) != kind || strings.Trim(kind, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" {
			l.refuse(at+"type", "%.40q: expected a type of DNS records, in capitals", kind)
		} else {
			l.warn(at+"type", "%.40q: providers need not support it", kind)
		}
	}
	for _, name := range needs {
		if _, there := r[name]; !there {
			l.refuse(at+name, "missing: records of type %.40q need it", kind)
		}
	}
	for _, name := range sortedKeys(r) {
		if !slices.Contains(recordFields, name) && !strings.HasPrefix(name, "vnd.") {
			l.warn(at+cutName(name), "no field of records: providers pass over it; is it misspelt?")
		}
		if s, ok := r[name].(string); ok {
			l.variables(at+name, name, s)
		}
	}
	if id, ok := l.text(r, at, "groupId", false); ok {
		if err := CheckID(id); err != nil {
			l.refuse(at+"groupId", "%v", err)
		}
	}
	if e, there := r["essential"]; there && e != "Always" && e != "OnApply" {
		l.refuse(at+"essential", "expected Always or OnApply")
	}
	if mode, there := r["txtConflictMatchingMode"]; there && mode != "None" && mode != "All" && mode != "Prefix" {
		l.refuse(at+"txtConflictMatchingMode", "expected None, All or Prefix")
	}
	if ttl, there := r["ttl"]; there {
		l.number(at+"ttl", ttl)
	}
	for _, name := range []string{"pointsTo", "target"} {
		if to, ok := r[name].(string); ok {
			l.target(at+name, kind, to)
		}
	}
}

// number is a whole number, or a text of one, or a variable.
func (l *linter) number(where string, v any) {
	digits := ""
	switch v := v.(type) {
	case json.Number:
		digits = v.String()
	case string:
		digits = v
		if strings.HasPrefix(v, "%") {
			l.warn(where, "a variable: providers need not support one here")
			return
		}
	}
	if digits != "0" && !positive(digits) {
		l.refuse(where, "expected seconds, a whole number")
	}
}

// target looks at where a record leads.
func (l *linter) target(where, kind, to string) {
	switch {
	case to == "":
		l.refuse(where, "empty")
	case to == "@" && (kind == "A" || kind == "AAAA" || kind == "NS" || kind == "CNAME"):
		l.refuse(where, "%q is the name itself: a %s record cannot lead there", to, kind)
	case to != "@" && strings.Contains(to, "@"):
		l.refuse(where, "%.80q: @ stands alone", to)
	case strings.HasPrefix(to, "%") && strings.Count(to, "%") == 2 && strings.HasSuffix(to, "%"):
		l.warn(where, "%.80q leads wherever a link says: keep as much of it fixed as you can, or providers refuse it", to)
	}
}

// variables looks at the variables in a text.
func (l *linter) variables(where, field, text string) {
	parts := strings.Split(text, "%")
	if len(parts)%2 == 0 {
		l.refuse(where, "%.80q: one %% stands alone; variables are written %%name%%", text)
		return
	}
	if len(parts) > 1 && slices.Contains([]string{"type", "groupId", "essential", "txtConflictMatchingMode", "txtConflictMatchingPrefix", "protocol", "service"}, field) {
		l.refuse(where, "%.80q: no variables here", text)
	}
	for i := 1; i < len(parts); i += 2 {
		name := parts[i]
		switch {
		case name == "" || strings.ContainsFunc(name, func(c rune) bool {
			return c > 0x7f || !isAlphanumeric(byte(c)) && c != '-' && c != '_'
		}):
			l.refuse(where, "%.80q: variables are of letters, digits, hyphens and underscores", name)
		case slices.Contains(reserved, name):
			l.refuse(where, "%%%s%%: a parameter of links is called so; take another name", name)
		case slices.Contains(builtIn, name):
		case field == "host" || field == "name":
			l.warn(where, "%%%s%%: give sub-domains by the parameter host, so that providers see conflicts", name)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
