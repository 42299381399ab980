package caddyapoxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/apoxy-dev/caddy-apoxy/cli"
)

// hook is a receiver that verifies what it gets.
type hook struct {
	*httptest.Server
	mu   sync.Mutex
	key  string
	got  []hookBody
	fail []string
}

type hookBody struct {
	Type string
	Data struct {
		Name, Hostname, Type, From, To, Reason, Message string
		Record                                          *struct {
			APIVersion, Kind string
			Metadata         struct{ Name, ResourceVersion string }
		}
	}
}

func newHook(t *testing.T, key string) *hook {
	h := &hook{key: key}
	h.Server = httptest.NewServer(h)
	t.Cleanup(h.Server.Close)
	return h
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	h.mu.Lock()
	defer h.mu.Unlock()
	mac := hmac.New(sha256.New, []byte(h.key))
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("webhook-id"), r.Header.Get("webhook-timestamp"), body)
	var b hookBody
	if err := json.Unmarshal(body, &b); err != nil || r.Header.Get("webhook-signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) {
		h.fail = append(h.fail, fmt.Sprintf("%s signed %s: %v", body, r.Header.Get("webhook-signature"), err))
	}
	h.got = append(h.got, b)
}

// heard tells whether it was told of an event of a record, and fails if something was not signed.
func (h *hook) heard(t *testing.T, event, name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range h.fail {
		t.Fatal(f)
	}
	for _, b := range h.got {
		if b.Type == event && b.Data.Name == name {
			return true
		}
	}
	return false
}

// withHook is the world's Caddyfile with lines in the option apoxy, and an admin endpoint.
func (w world) withHook(admin, lines string) string {
	config := strings.Replace(w.caddyfile(), "admin off", "admin "+admin, 1)
	return strings.Replace(config, "\t\tstore bolt", "\t\t"+lines+"\n\t\tstore bolt", 1)
}

// call makes a request; 0: it got no answer, as the endpoint of a former configuration
// gives none.
func call(t *testing.T, method, url, body string, out any) int {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0
	}
	if out != nil {
		if err := json.Unmarshal(raw, out); err != nil {
			t.Fatalf("%s %s: %s %q", method, url, resp.Status, raw)
		}
	}
	return resp.StatusCode
}

const recordsPath = "/apis/core.apoxy.dev/v1alpha3/domainrecords"

// createAt creates a record at an admin endpoint.
func createAt(t *testing.T, base, name string) {
	t.Helper()
	body := fmt.Sprintf(`{"apiVersion":"core.apoxy.dev/v1alpha3","kind":"DomainRecord","metadata":{"name":%q},"spec":{"name":%[1]q,"target":{"ref":{"kind":"Proxy","name":"api"}}}}`, name)
	until(t, "the record "+name, func() bool {
		code := call(t, http.MethodPost, base+recordsPath, body, nil)
		return code == http.StatusCreated || code == http.StatusConflict // of the try before
	})
}

// whsec is a secret's text.
func whsec(key string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(key)) }

const firstKey, secondKey = "0123456789abcdefghijklmn", "zyxwvutsrqponmlkjihgfedc"

// The line of the contract works as it stands: what becomes of a record is told, signed,
// and the admin endpoint tells of it.
func TestAWebhookIsTold(t *testing.T) {
	t.Setenv("HOOK_SECRET", whsec(firstKey))
	h := newHook(t, firstKey)
	w, admin := newWorld(t), freePort(t)
	if err := load(t, w.withHook(admin, "webhook "+h.URL+"/hooks { secret {env.HOOK_SECRET} }")); err != nil {
		t.Fatal(err)
	}
	base := "http://" + admin
	createAt(t, base, "one.example.com")
	until(t, "a changed condition", func() bool { return h.heard(t, "apoxy.condition_changed", "one.example.com") })
	h.mu.Lock()
	d := h.got[0].Data
	h.mu.Unlock()
	if r := d.Record; d.Hostname != "one.example.com" || d.Type == "" || d.To == "" || r == nil || r.Kind != "DomainRecord" || r.APIVersion != "core.apoxy.dev/v1alpha3" || r.Metadata.Name != "one.example.com" || r.Metadata.ResourceVersion == "" {
		t.Errorf("the first delivery tells %+v, record %+v", d, r)
	}

	var tests cli.WebhookTests
	if code := call(t, http.MethodPost, base+cli.WebhookTestPath, "", &tests); code != 200 || len(tests.Tests) != 1 || tests.Tests[0].Status != 200 || tests.Tests[0].Reason != "" {
		t.Errorf("the test answers %d %+v", code, tests)
	}
	until(t, "an empty queue", func() bool {
		var list cli.WebhookList
		call(t, http.MethodGet, base+cli.WebhooksPath, "", &list)
		return len(list.Webhooks) == 1 && list.Webhooks[0].Waiting == 0 && !list.Webhooks[0].LastSuccess.IsZero()
	})
	var replay cli.WebhookReplay
	if code := call(t, http.MethodPost, base+cli.WebhookReplayPath, "", &replay); code != 200 || replay.Queued != 0 {
		t.Errorf("the replay answers %d %+v", code, replay)
	}
	var status struct{ Kind, Message string }
	for path, want := range map[string]int{cli.WebhookTestPath + "?url=https://other.example.net/": 404, cli.WebhookReplayPath + "?since=soon": 400} {
		if code := call(t, http.MethodPost, base+path, "", &status); code != want || status.Kind != "Status" || status.Message == "" {
			t.Errorf("%s answers %d %+v, want %d", path, code, status, want)
		}
	}
	if code := call(t, http.MethodGet, base+cli.WebhookTestPath, "", nil); code != http.StatusMethodNotAllowed {
		t.Errorf("GET of a test answers %d", code)
	}
}

// A reload gives an endpoint another secret, or takes it away.
func TestAReloadRulesTheWebhooks(t *testing.T) {
	t.Setenv("HOOK_SECRET", whsec(firstKey))
	h := newHook(t, firstKey)
	w, admin := newWorld(t), freePort(t)
	base, line := "http://"+admin, "webhook "+h.URL+"/hooks { secret {env.HOOK_SECRET} }"
	reload := func(line string) {
		t.Helper()
		if err := load(t, w.withHook(admin, line)); err != nil {
			t.Fatal(err)
		}
	}
	settled := func() bool {
		var list cli.WebhookList
		call(t, http.MethodGet, base+cli.WebhooksPath, "", &list)
		return len(list.Webhooks) == 1 && list.Webhooks[0].Waiting == 0
	}
	reload(line)
	createAt(t, base, "one.example.com")
	until(t, "a changed condition", func() bool { return h.heard(t, "apoxy.condition_changed", "one.example.com") && settled() })

	h.mu.Lock()
	h.key = secondKey
	h.mu.Unlock()
	t.Setenv("HOOK_SECRET", whsec(secondKey))
	reload(line)
	until(t, "the end of the record", func() bool {
		code := call(t, http.MethodDelete, base+recordsPath+"/one.example.com", "", nil)
		return code == http.StatusOK || code == http.StatusNotFound // of the try before
	})
	until(t, "the deletion", func() bool { return h.heard(t, "apoxy.record_deleted", "one.example.com") })

	const plain = "not-base64-of-the-standard" // its bytes are the key
	other := newHook(t, plain)
	reload("webhook " + other.URL + " {\n secret " + plain + "\n}")
	createAt(t, base, "two.example.com")
	until(t, "the other's", func() bool { return other.heard(t, "apoxy.condition_changed", "two.example.com") })
	if h.heard(t, "apoxy.condition_changed", "two.example.com") {
		t.Error("an endpoint that was withdrawn is told")
	}
}

// A secret is in no error, and one that is missing is named.
func TestWrongWebhooksAreRefused(t *testing.T) {
	w := newWorld(t)
	secret := `{ "url": %q, "secrets": [%q], "events": [%q] }`
	for what, c := range map[string]struct{ hook, want string }{
		"placeholder":     {fmt.Sprintf(secret, "https://a.example.net/", "{env.NO_SUCH_SECRET}", "apoxy.phase_changed"), "webhook: secret 1: .*NO_SUCH_SECRET.*set it"},
		"base64":          {fmt.Sprintf(secret, "https://a.example.net/", "whsec_s3cr*t", "apoxy.phase_changed"), "webhook: secret 1: .*not base64.*openssl"},
		"file":            {fmt.Sprintf(secret, "https://a.example.net/", "{file.testdata/none}", "apoxy.phase_changed"), "webhook: secret 1"},
		"url":             {fmt.Sprintf(secret, "{env.HOOK_URL}", "s3cr*t", "apoxy.phase_changed"), "webhook: .*user or password"},
		"event":           {fmt.Sprintf(secret, "https://a.example.net/", "s3cr*t", "apoxy.test"), "webhook: events: .*apoxy.test"},
		"no secret":       {`{ "url": "https://a.example.net/" }`, "webhook: expected a secret"},
		"twice":           {fmt.Sprintf(secret+","+secret, "https://a.example.net/", "s3cr*t", "apoxy.phase_changed", "https://a.example.net/", "s3cr*t", "apoxy.phase_changed"), "stands twice"},
		"more than there": {strings.Repeat(`{ "url": "https://a.example.net/" },`, maxWebhooks) + `{ "url": "https://a.example.net/" }`, "17 are configured"},
	} {
		t.Setenv("HOOK_URL", "https://me:s3cr*t@a.example.net/")
		config, err := adapted(w.caddyfile())
		if err != nil {
			t.Fatal(err)
		}
		text := strings.Replace(string(config), `"dns":[`, `"webhooks":[`+c.hook+`],"dns":[`, 1)
		err = loadJSON(t, text)
		if err == nil || !regexp.MustCompile(c.want).MatchString(err.Error()) || strings.Contains(err.Error(), "s3cr") {
			t.Errorf("%s: the error is %v", what, err)
		}
	}
}

// The contract's Caddyfile is loaded as it stands, but for what is this machine's.
func TestOneLineBlocks(t *testing.T) {
	for in, want := range map[string]string{
		"webhook https://a/ { secret {env.X} }":                     "webhook https://a/   secret {env.X}  ",
		"\twebhook https://a/ { secret {env.X} } # { }":             "\twebhook https://a/   secret {env.X}   # { }",
		"webhook https://a/ { secret x events apoxy.test }\r":       "webhook https://a/   secret x events apoxy.test  \r",
		"webhook https://a/ {\n\tsecret x\n}":                       "",
		"webhook https://a/ { secret x":                             "",
		"respond \"a\nwebhook https://a/ { secret x }\n\"":          "",
		"respond <<END\n\twebhook https://a/ { secret x }\n\tEND\n": "",
		"# webhook https://a/ { secret x }":                         "",
		"log webhook https://a/ { secret x }":                       "",
		"respond \"webhook\"\nhandle { abort }":                     "",
		"import x \\\nwebhook https://a/ { secret x }":              "",
		"\"webhook\" https://a/ { secret x }":                       "",
		"\tapoxy_setup { url https://a }":                           "\tapoxy_setup   url https://a  ",
		"apoxy_setup {\n\turl https://a\n}":                         "",
		"\tapoxy_dashboard { allow_writes }":                        "\tapoxy_dashboard   allow_writes  ",
		"apoxy_setup x { url https://a }":                           "",
	} {
		got := string(withoutOneLineBlocks([]byte(in)))
		if want == "" {
			want = in
		}
		if got != want || strings.Count(got, "\n") != strings.Count(in, "\n") {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

// caddyfile adapters are found by their name by everybody, so that the admin endpoint
// takes one-line blocks, too.
func TestTheAdminEndpointAdaptsTheContract(t *testing.T) {
	golden, err := os.ReadFile("testdata/adapt/contract.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	contract, _, _ := strings.Cut(string(golden), "----------\n")
	w, admin := newWorld(t), freePort(t)
	if err := load(t, w.withHook(admin, "")); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+admin+"/adapt", strings.NewReader(contract))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "text/caddyfile")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var out struct {
		Result caddy.Config `json:"result"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&out); err != nil || resp.StatusCode != 200 || !strings.Contains(string(out.Result.AppsRaw["apoxy"]), "HOOK_SECRET") {
		t.Errorf("it answers %s, %s, %v", resp.Status, out.Result.AppsRaw["apoxy"], err)
	}
}
