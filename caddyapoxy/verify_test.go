package caddyapoxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
	"github.com/apoxy-dev/caddy-apoxy/store/damage"
	"github.com/apoxy-dev/caddy-apoxy/store/storetest"
)

func recordValue(t *testing.T, name, hostname string) string {
	t.Helper()
	r := new(v1alpha3.DomainRecord)
	r.Name, r.Spec.Name = name, hostname
	value, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(value)
}

// Every kind of value is looked at: a sound store has no faults, and each fault
// is told with its mend, by the running Caddy and offline alike.
func TestVerifyKnowsEveryRoom(t *testing.T) {
	rt := openTestRuntime(t, zap.NewNop())
	put := func(values map[string]string) {
		t.Helper()
		for key, value := range values {
			if _, err := rt.store.Write(t.Context(), store.Op{Key: key, Value: []byte(value), If: store.Any}); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(map[string]string{
		"domainrecords/a.test": recordValue(t, "a.test", "a.test"), "hostnames/a.test": "a.test",
		"domainrecords/named": recordValue(t, "named", "*.b.test"), "hostnames/*.b.test": "named",
		"released/a.test":        `{"owner":"acme","uid":"1","time":"2026-01-01T00:00:00Z"}`,
		"rrsets/z.test/a/TXT":    `{"ttl":1,"values":[{"data":"x"}]}`,
		"certificates/a.test":    `{"uid":"1"}`,
		"ledger/hold/ca/x/ca":    `{"until":"2026-01-01T00:00:00Z","reason":"r"}`,
		"ledger/budget/ca/x":     `{"slot":1000000000}`,
		"timelines/uid-1":        "\x01\x00\x00",
		"later/version's prefix": "who knows",
	})
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = rt.verify(w, r) }))
	defer admin.Close()
	look := func() (found []string, sum damage.Sum) {
		t.Helper()
		name, sum, err := verifyOnline(t.Context(), http.DefaultClient, admin.URL, func(f damage.Fault) error {
			if f.Mend == "" {
				t.Errorf("%s: %s has no mend", f.Key, f.What)
			}
			found = append(found, f.Key+": "+f.What)
			return nil
		})
		if err != nil || name != rt.key {
			t.Fatalf("%s, %v", name, err)
		}
		return found, sum
	}
	if found, sum := look(); len(found) != 0 || sum.Values != 11 {
		t.Fatalf("a sound store of %d values: %q", sum.Values, found)
	}
	put(map[string]string{
		"domainrecords/bad":       "{",
		"domainrecords/lonely":    recordValue(t, "lonely", "lonely.test"),
		"domainrecords/robbed":    recordValue(t, "robbed", "a.test"),
		"hostnames/orphan.test":   "nobody",
		"hostnames/mistaken.test": "named",
		"hostnames/empty.test":    "",
		"released/b.test":         "[]",
		"rrsets/z.test/b/A":       `{"values":[{"data":"no address"}]}`,
		"certificates/b.test":     "x",
		"ledger/hold/ca/x/name/b": "x",
		"ledger/budget/ca/y":      "{}",
		"timelines/uid-2":         "{}",
		"domainrecords/spoilt":    "spoil this",
		"later/spoilt":            "spoil this",
	})
	storetest.Spoil(t, strings.TrimPrefix(rt.key, "bolt:"), "spoil this")
	found, sum := look()
	for _, want := range []string{
		"domainrecords/bad: it does not decode", "domainrecords/lonely: its hostname", "domainrecords/robbed: its hostname",
		"domainrecords/spoilt: its checksum", "hostnames/orphan.test: it names the record", "hostnames/mistaken.test: it names the record",
		"hostnames/empty.test: it does not decode", "released/b.test: it does not decode", "rrsets/z.test/b/A: it does not decode",
		"certificates/b.test: it does not decode", "ledger/hold/ca/x/name/b: it does not decode", "ledger/budget/ca/y: it does not decode",
		"timelines/uid-2: it does not decode", "later/spoilt: its checksum",
	} {
		if !slices.ContainsFunc(found, func(f string) bool { return strings.HasPrefix(f, want) }) {
			t.Errorf("not told: %s", want)
		}
	}
	if len(found) != 14 || sum != (damage.Sum{Values: 25, Faults: 14}) || rt.store.Damaged() != 10 {
		t.Errorf("%+v, %d counted as damaged:\n%s", sum, rt.store.Damaged(), strings.Join(found, "\n"))
	}

	reader := filepath.Join(t.TempDir(), "copy.db")
	data := readFile(t, strings.TrimPrefix(rt.key, "bolt:"))
	writeFile(t, reader, data)
	var offline []string
	if _, err := verifyOffline(t.Context(), &BoltStore{Path: reader}, func(f damage.Fault) error {
		offline = append(offline, f.Key+": "+f.What)
		return nil
	}); err != nil || !slices.Equal(offline, found) {
		t.Errorf("offline %v:\n%s\nwant:\n%s", err, strings.Join(offline, "\n"), strings.Join(found, "\n"))
	}
	_, err := verifyOffline(t.Context(), &BoltStore{Path: strings.TrimPrefix(rt.key, "bolt:")}, nil)
	if !errors.Is(err, boltstore.ErrLocked) {
		t.Errorf("a store in use: %v", err)
	}
}

func TestVerifyOnlineIsRefused(t *testing.T) {
	rt := openTestRuntime(t, zap.NewNop())
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _ = rt.verify(w, r) }))
	defer admin.Close()
	resp, err := http.Get(admin.URL + verifyPath)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET is answered %s", resp.Status)
	}
	rt.verifying.Lock()
	if _, _, err := verifyOnline(t.Context(), http.DefaultClient, admin.URL, nil); err == nil || !strings.Contains(err.Error(), "429") {
		t.Errorf("two at once: %v", err)
	}
	rt.verifying.Unlock()
	for text, says := range map[string]string{
		`{"store":"bolt:x"}` + "\n":                         "broke off",
		`{"store":"bolt:x"}` + "\n" + `{"error":"no luck"}`: "no luck",
		"nonsense\n": "reading the answer",
		"":           "broke off",
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) }))
		if _, _, err := verifyOnline(t.Context(), http.DefaultClient, s.URL, nil); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, want %q", text, err, says)
		}
		s.Close()
	}
}

func TestTheStoreThatIsNamed(t *testing.T) {
	for _, tc := range []struct{ text, config, key, says string }{
		{text: "bolt /srv/apoxy.db", key: "bolt:/srv/apoxy.db"},
		{text: `bolt "/srv/with space.db"`, key: "bolt:/srv/with space.db"},
		{text: "etcd { }", says: "store etcd"},
		{text: "etcd { endpoints http://a:1 http://b:1 }", key: "etcd:http://a:1,http://b:1/apoxy"},
		{text: "etcd { endpoints http://a:1; prefix /x; }", key: "etcd:http://a:1/x"},
		{text: "etcd {\n\tendpoints http://a:1 ; timeout 4s\n\tuser u; password \"x;\"\n}", key: "etcd:http://a:1/apoxy"},
		{text: "etcd { endpoints http://a:1 } }", says: "expected one store"},
		{text: "sqlite x", says: "no engine"},
		{text: "bolt /a /b", says: "one path"},
		{text: "bolt /a\nbolt /b", says: "expected one store"},
		{config: `{"apps":{"apoxy":{"store":{"module":"bolt","path":"/srv/apoxy.db"}}}}`, key: "bolt:/srv/apoxy.db"},
		{config: `{"apps":{"apoxy":{}}}`, key: "apoxy.db"},
		{config: `{"apps":{"http":{}}}`, says: "no apoxy app"},
		{config: `{"apps":{"apoxy":{"store":{"module":"postgres"}}}}`, says: "expected bolt"},
		{config: `{`, says: "reading the configuration"},
	} {
		t.Run(tc.text+tc.config, func(t *testing.T) {
			var s StoreModule
			var err error
			if tc.text != "" {
				s, err = storeOfText("--store", tc.text)
			} else {
				s, err = storeOfConfig([]byte(tc.config))
			}
			if tc.says != "" {
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("error %v, want %q", err, tc.says)
				}
				return
			}
			if err != nil || !strings.HasSuffix(s.Key(), tc.key) {
				t.Errorf("%v, %v; want %s", s, err, tc.key)
			}
		})
	}
}

func TestStoreCommandOffline(t *testing.T) {
	path := filepath.Join(t.TempDir(), "apoxy.db")
	run := func(args ...string) (string, string, error) {
		var out, errOut bytes.Buffer
		root := &cobra.Command{Use: "apoxy"}
		root.AddCommand(storeCommand())
		root.SetOut(&out)
		root.SetErr(&errOut)
		root.SetArgs(append([]string{"store"}, args...))
		err := root.ExecuteContext(t.Context())
		return out.String(), errOut.String(), err
	}
	if _, said, err := run("verify", "--store", "bolt "+path); err == nil || !strings.Contains(said, "there is no such file") {
		t.Errorf("no file: %v, %q", err, said)
	}
	s, err := boltstore.Open(path, boltstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ops := []store.Op{
		{Key: "domainrecords/a.test", Value: []byte(recordValue(t, "a.test", "a.test")), If: store.Any},
		{Key: "hostnames/a.test", Value: []byte("a.test"), If: store.Any},
	}
	if _, err := s.Write(t.Context(), ops...); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	out, said, err := run("verify", "--store", "bolt "+path)
	if err != nil || out != "bolt:"+path+" is sound: 2 values.\n" || said != "" {
		t.Errorf("sound: %v, %q, %q", err, out, said)
	}
	storetest.Spoil(t, path, `"a.test"`)
	out, said, err = run("verify", "--store", "bolt "+path)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if err == nil || len(lines) != 2 || !strings.HasPrefix(lines[0], `"domainrecords/a.test": its checksum does not hold; mend: delete the record`) ||
		lines[1] != "bolt:"+path+" has faults: 1, among 2 values." || said != "" {
		t.Errorf("damaged: %v, %q, %q", err, out, said)
	}
	for _, args := range [][]string{{"copy"}, {"compact", "--x"}, {"verify", "x"}, {"verify", "--store", "bolt x", "--address", "y"}, {"verify", "--bogus"}} {
		if _, said, err := run(args...); err == nil || strings.Count(said, "\n") != 1 || !strings.HasPrefix(said, "error: ") {
			t.Errorf("%q: %v, %q", args, err, said)
		}
	}
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func writeFile(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
