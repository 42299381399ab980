package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

// What a stranger may name, or send through a platform that passes it on.

func TestReservedHostnamesAreRefused(t *testing.T) {
	p := start(t, network(t), settings{})
	_, parent, _ := strings.Cut(testnet.Zone, ".")
	for _, hostname := range []string{
		testnet.Zone, "shop." + testnet.Zone, "*." + testnet.Zone, // inside
		parent, "*." + parent, // above, and what covers it
		testnet.NameServer, strings.ToUpper(testnet.NameServer),
	} {
		err := call(t.Context(), http.MethodPost, recordsPath, manifest(hostname, true), nil)
		if err == nil || !strings.Contains(err.Error(), "status 422") || !strings.Contains(err.Error(), "spec.name") {
			t.Errorf("%s: %v, want 422 that names spec.name", hostname, err)
		}
	}
	if names := p.names(t); len(names) != 0 {
		t.Errorf("there are records for %v", names)
	}
	if err := call(t.Context(), http.MethodPost, recordsPath, manifest("beside."+parent, false), nil); err != nil {
		t.Errorf("a name beside the zone is refused: %v", err)
	}
}

func TestHostileBodiesHarmNobody(t *testing.T) {
	p := start(t, network(t), settings{})
	p.create(t, "kept.hostile.com", false)
	for what, body := range map[string]string{
		"deep JSON":         strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000),
		"deep lists":        `{"spec":` + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + "}",
		"65 levels":         strings.Repeat(`{"a":`, 65) + "1" + strings.Repeat("}", 65),
		"too large":         `{"a":"` + strings.Repeat("x", 4<<20) + `"}`,
		"a managed field":   `{"metadata":{"managedFields":[{"manager":"` + strings.Repeat("m", 200) + `","operation":"Update","apiVersion":"core.apoxy.dev/v1alpha3","fieldsType":"FieldsV1","fieldsV1":{"f:spec":{"f:ttl":{}}}}]},"spec":{"name":"a.hostile.com","target":{"ref":{"kind":"Gateway","name":"default"}}}}`,
		"many finalizers":   `{"metadata":{"finalizers":[` + strings.Repeat(`"a.b/c",`, 50_000) + `"a.b/c"]},"spec":{"name":"a.hostile.com"}}`,
		"no UTF-8, no JSON": "\xff\xfe\x00",
	} {
		answer, err := http.Post(adminURL+recordsPath, "application/json", strings.NewReader(body))
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		text, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode < 400 || answer.StatusCode >= 500 {
			t.Errorf("%s is answered %d, %v, want 4xx", what, answer.StatusCode, err)
		}
		if len(text) > 16<<10 {
			t.Errorf("%s: the answer has %d bytes", what, len(text))
		}
	}
	if names := p.names(t); len(names) != 1 {
		t.Errorf("there are records %v, want the one of before", names)
	}
}
