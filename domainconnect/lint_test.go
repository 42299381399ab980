package domainconnect

import (
	"encoding/json"
	"strings"
	"testing"
)

// with is our template with one change.
func with(t *testing.T, change func(m map[string]any, first map[string]any)) []byte {
	t.Helper()
	raw, err := NewTemplate(theService, Names{Provider: "Example", Service: "Shop"}, ownZone, 1).JSON()
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(m, m["records"].([]any)[0].(map[string]any))
	}
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestOurTemplateHasNoFault(t *testing.T) {
	raw, err := NewTemplate(theService, Names{"Example", "Shop", "https://example.net/logo.svg"}, "CNAME.Example.net.", 3).JSON()
	if err != nil {
		t.Fatal(err)
	}
	if faults := Lint(raw); len(faults) > 0 {
		t.Errorf("%v in\n%s", faults, raw)
	}
	if name, ok := FileName(raw); !ok || name != "example.net.custom-domain.json" {
		t.Errorf("%q, %t", name, ok)
	}
	for _, part := range []string{
		`"pointsTo": "%fqdn%.cname.example.net"`, `"pointsTo": "_acme-challenge.%fqdn%.cname.example.net"`,
		`"pointsTo": "%token%._apoxy-verify.cname.example.net"`, `"syncPubKeyDomain": "cname.example.net"`, `"hostRequired": true`,
	} {
		if !strings.Contains(string(raw), part) {
			t.Errorf("no %s in\n%s", part, raw)
		}
	}
}

func TestLint(t *testing.T) {
	type m = map[string]any
	for _, c := range []struct {
		what   string
		raw    []byte
		change func(t, first m)
		error  string // what one error holds; empty: none is an error
		warn   string
	}{
		{what: "no JSON", raw: []byte("{"), error: "expected a JSON object"},
		{what: "a list", raw: []byte("[]"), error: "expected a JSON object"},
		{what: "null", raw: []byte("null"), error: "expected a JSON object"},
		{what: "something after it", raw: []byte("{} {}"), error: "expected nothing after"},
		{what: "too large", raw: make([]byte, MaxTemplate+1), error: "octets"},
		{what: "nothing in it", raw: []byte("{}"), error: "providerId: missing"},
		{what: "an id with a slash", change: func(t, _ m) { t["serviceId"] = "a/b" }, error: "serviceId: "},
		{what: "an id that is no domain", change: func(t, _ m) { t["providerId"] = "example" }, warn: "providerId: "},
		{what: "a name that is a number", change: func(t, _ m) { t["serviceName"] = 1 }, error: "serviceName: expected a text"},
		{what: "a long name", change: func(t, _ m) { t["serviceName"] = strings.Repeat("ä", 256) }, error: "serviceName: "},
		{what: "version 0", change: func(t, _ m) { t["version"] = 0 }, error: "version: "},
		{what: "version 1.5", change: func(t, _ m) { t["version"] = 1.5 }, error: "version: "},
		{what: "a logo without TLS", change: func(t, _ m) { t["logoUrl"] = "http://a.test/" }, error: "logoUrl: "},
		{what: "unsigned", change: func(t, _ m) { delete(t, "syncPubKeyDomain") }, error: "syncPubKeyDomain: missing"},
		{what: "unsigned, without the flow", change: func(t, _ m) { delete(t, "syncPubKeyDomain"); t["syncBlock"] = true }},
		{what: "warnPhishing", change: func(t, _ m) { t["warnPhishing"] = true }, warn: "warnPhishing: deprecated"},
		{what: "a flag that is a text", change: func(t, _ m) { t["hostRequired"] = "true" }, error: "hostRequired: expected true or false"},
		{what: "a property that is misspelt", change: func(t, _ m) { t["logoURL"] = "x" }, warn: "logoURL: no property"},
		{what: "a CNAME at the top", change: func(t, _ m) { t["hostRequired"] = false }, error: "hostRequired: a CNAME"},
		{what: "no records", change: func(t, _ m) { t["records"] = []any{} }, error: "records: empty"},
		{what: "records that are none", change: func(t, _ m) { t["records"] = []any{1} }, error: "records[0]: expected a JSON object"},
		{what: "two at a CNAME's name", change: func(t, r m) { t["records"] = []any{r, r} }, error: "a CNAME is alone"},
		{what: "no type", change: func(_, r m) { delete(r, "type") }, error: "records[0].type: missing"},
		{what: "a small type", change: func(_, r m) { r["type"] = "cname" }, error: "records[0].type: "},
		{what: "a generic type", change: func(_, r m) { r["type"] = "CAA"; r["data"] = `0 issue "a"` }, warn: "records[0].type: "},
		{what: "no ttl", change: func(_, r m) { delete(r, "ttl") }, error: "records[0].ttl: missing"},
		{what: "a ttl that is a word", change: func(_, r m) { r["ttl"] = "hour" }, error: "records[0].ttl: "},
		{what: "a ttl that varies", change: func(_, r m) { r["ttl"] = "%ttl%" }, warn: "records[0].ttl: "},
		{what: "it leads anywhere", change: func(_, r m) { r["pointsTo"] = "%target%" }, warn: "leads wherever"},
		{what: "it leads to itself", change: func(_, r m) { r["pointsTo"] = "@" }, error: "the name itself"},
		{what: "a lone percent sign", change: func(_, r m) { r["pointsTo"] = "%a.test" }, error: "stands alone"},
		{what: "a variable with a blank", change: func(_, r m) { r["pointsTo"] = "%a b%.test" }, error: "variables are of"},
		{what: "a variable called as a parameter", change: func(_, r m) { r["pointsTo"] = "%state%.a.test" }, error: "take another name"},
		{what: "a variable in the host", change: func(_, r m) { r["host"] = "%sub%" }, warn: "by the parameter host"},
		{what: "a group that varies", change: func(_, r m) { r["groupId"] = "%g%" }, error: "records[0].groupId: "},
		{what: "a field that is misspelt", change: func(_, r m) { r["pointTo"] = "x" }, warn: "records[0].pointTo: no field"},
	} {
		t.Run(c.what, func(t *testing.T) {
			raw := c.raw
			if raw == nil {
				raw = with(t, c.change)
			}
			var errors, warnings []string
			for _, f := range Lint(raw) {
				if f.Error {
					errors = append(errors, f.String())
				} else {
					warnings = append(warnings, f.String())
				}
			}
			if has := len(errors) > 0; has != (c.error != "") || has && !strings.Contains(strings.Join(errors, "\n"), c.error) {
				t.Errorf("errors %q, want %q", errors, c.error)
			}
			if c.warn != "" && !strings.Contains(strings.Join(warnings, "\n"), c.warn) {
				t.Errorf("warnings %q, want %q", warnings, c.warn)
			}
		})
	}
}
