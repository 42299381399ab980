package domainconnect

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

// FuzzSettings: whatever a provider answers, what is taken of it is https, of a host name, and leads
// to the host that it names.
func FuzzSettings(f *testing.F) {
	for _, seed := range []string{
		`{"urlSyncUX":"https://a.test/sync","urlAPI":"https://b.test"}`, `{"urlSyncUX":"https://a.test@b.test","urlAPI":"https://b.test"}`,
		`{"urlSyncUX":"https://a.test:22","urlAPI":"https://[::1]"}`, `{"urlSyncUX":"javascript:alert(1)","urlAPI":""}`, `{"crit":["x"],"x":1}`, `{"crit":1}`, `[]`, `null`,
		`{"urlSyncUX":"https://a.test/../..","urlAPI":"https://b.test"}`, `{"urlSyncUX":"https://a.test?x=1","urlAPI":"https://b.test#x"}`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		s, err := readSettings([]byte(body))
		if err != nil {
			return
		}
		for _, at := range []string{s.syncUX, s.api} {
			u, err := url.Parse(at + theService.path() + "/apply?domain=a")
			if err != nil || u.Scheme != "https" || u.User != nil || !strings.Contains(u.Hostname(), ".") || u.RawQuery != "domain=a" || !strings.HasSuffix(u.Path, "/apply") || len(at) > maxPrefix {
				t.Fatalf("%q was taken: %v", at, err)
			}
		}
	})
}

// FuzzDiscoveryRecord: whatever a TXT record holds, the settings are asked for over https at a host name.
func FuzzDiscoveryRecord(f *testing.F) {
	for _, seed := range []string{"connect.provider.test", "connect.provider.test/dc", "a.test:8443/x", "a.test:22", "127.0.0.1", "[::1]/x", "user@a.test", "a.test/?q", "a.test/#f", "//a.test", "a.test/../x", "v=spf1 -all"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := settingsURL(text, "example.com")
		if err != nil {
			return
		}
		u, err := url.Parse(at)
		if err != nil || u.Scheme != "https" || u.User != nil || !strings.Contains(u.Hostname(), ".") || !strings.HasSuffix(u.Path, "/v2/example.com/settings") || u.RawQuery != "" || u.Fragment != "" {
			t.Fatalf("%q leads to %q", text, at)
		}
	})
}

// FuzzLint: whatever a file holds, looking at it ends, and what is no JSON object is a fault.
func FuzzLint(f *testing.F) {
	raw, err := NewTemplate(theService, Names{Provider: "Example", Service: "Shop"}, ownZone, 1).JSON()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(raw))
	f.Add(`{"records":[{"type":"TXT","data":"%a%b%","ttl":-1}]}`)
	f.Add(`{"records":[[]],"crit":1}`)
	f.Fuzz(func(t *testing.T, text string) {
		faults := Lint([]byte(text))
		var object map[string]any
		if json.Unmarshal([]byte(text), &object) != nil && !Errors(faults) {
			t.Fatalf("%q is taken for a template", text)
		}
	})
}
