package caddyapoxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/setup"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

// withSetup is the world's Caddyfile with an admin endpoint, and a site with lines in
// its block apoxy_setup.
func (w world) withSetup(admin, page, lines string) string {
	config := strings.Replace(w.caddyfile(), "admin off", "admin "+admin, 1)
	return config + fmt.Sprintf("http://%s {\n\tbind 127.0.0.1\n\tapoxy_setup {\n%s\n\t}\n}\n", page, lines)
}

// fetch is GET; 0: there is no answer.
func fetch(t *testing.T, url string) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, ""
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(raw)
}

// A link that the API makes opens the page of its record, and of no other, until it ends.
func TestASetupLinkOpensThePageOfItsRecord(t *testing.T) {
	w, admin, page := newWorld(t), freePort(t), freePort(t)
	site := "http://" + page
	config := w.withSetup(admin, page, "\t\turl "+site+"\n\t\ttitle \"Example Inc.\"\n\t\tframe_ancestors https://app.example.net")
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	base := "http://" + admin
	createAt(t, base, "one.example.com")
	link := func(body string) (l v1alpha3.SetupLink) {
		t.Helper()
		if code := call(t, http.MethodPost, base+recordsPath+"/one.example.com/setuplink", body, &l); code != http.StatusCreated {
			t.Fatalf("setuplink answers %d %+v", code, l)
		}
		return l
	}
	l := link(`{"expirationSeconds": 3600}`)
	if !strings.HasPrefix(l.Status.URL, site+"/") || strings.Contains(l.Status.URL, "one.example.com") {
		t.Errorf("the link is %s", l.Status.URL)
	}
	status, header, body := fetch(t, l.Status.URL)
	if status != 200 || !strings.Contains(header.Get("Content-Security-Policy"), "frame-ancestors https://app.example.net") || header.Get("Cache-Control") != "no-store" {
		t.Errorf("the page answers %d %v", status, header)
	}
	for _, want := range []string{"one.example.com.cname.example.net", "Example Inc."} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s: %s", want, body)
		}
	}
	// The names in DNS are fixed; nothing else names the product.
	if rest := strings.ToLower(strings.NewReplacer("_apoxy-challenge", "", "_apoxy-verify", "").Replace(body)); strings.Contains(rest, "apoxy") || strings.Contains(rest, "caddy") {
		t.Errorf("the page names the product: %s", body)
	}

	// Forged, expired and of a record that is no more.
	if status, _, _ := fetch(t, l.Status.URL[:len(l.Status.URL)-3]+"AAA"); status != 403 {
		t.Errorf("a forged link answers %d", status)
	}
	short := link(`{"expirationSeconds": 1}`)
	until(t, "the end of the link", func() bool {
		status, _, _ := fetch(t, short.Status.URL)
		return status == 410
	})
	if time.Now().Before(short.Status.ExpirationTimestamp.Time) {
		t.Error("the link ended before its time")
	}
	// A reload keeps the key.
	if err := load(t, strings.Replace(config, "Example Inc.", "Other Inc.", 1)); err != nil {
		t.Fatal(err)
	}
	until(t, "the page of the new configuration", func() bool {
		status, _, body := fetch(t, l.Status.URL)
		return status == 200 && strings.Contains(body, "Other Inc.")
	})
	if code := call(t, http.MethodDelete, base+recordsPath+"/one.example.com", "", nil); code != 200 {
		t.Fatalf("deleting answers %d", code)
	}
	createAt(t, base, "one.example.com")
	if status, _, body := fetch(t, l.Status.URL); status != 404 || strings.Contains(body, "one.example.com") {
		t.Errorf("the link of a record that was replaced answers %d: %s", status, body)
	}
}

// An open page is told when its record changes, and the stream holds no reload up.
func TestASetupPageFollowsItsRecord(t *testing.T) {
	w, admin, page := newWorld(t), freePort(t), freePort(t)
	config := strings.Replace(w.caddyfile(), "admin off", "admin "+admin, 1) +
		"http://" + page + " {\n\tbind 127.0.0.1\n\tapoxy_setup { url http://" + page + " }\n}\n" // as the contract has it
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	base := "http://" + admin
	createAt(t, base, "one.example.com")
	var l v1alpha3.SetupLink
	if code := call(t, http.MethodPost, base+recordsPath+"/one.example.com/setuplink", "", &l); code != 201 {
		t.Fatalf("setuplink answers %d", code)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.Status.URL+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("the stream answers %v, %v", resp, err)
	}
	defer resp.Body.Close()
	read := make([]byte, 0, 1<<16)
	has := func(text string) {
		t.Helper()
		for !bytes.Contains(read, []byte(text)) {
			chunk := make([]byte, 512)
			n, err := resp.Body.Read(chunk)
			if read = append(read, chunk[:n]...); err != nil {
				t.Fatalf("the stream has no %q but %q: %v", text, read, err)
			}
		}
	}
	has("data: changed") // the page said nothing of what it shows
	kv, _, err := running(t).held.store.Get(ctx, "domainrecords/one.example.com")
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Replace(kv.Value, []byte(`"uid"`), []byte(`"labels":{"a":"b"},"uid"`), 1)
	read = read[:0]
	if _, err := running(t).held.store.Write(ctx, store.Op{Key: kv.Key, Value: changed, If: store.Any}); err != nil {
		t.Fatal(err)
	}
	has("data: changed")
	if err := load(t, config+"# changed\n"); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = resp.Body.Read(make([]byte, 512))
	}
	if ctx.Err() != nil {
		t.Error("a reload leaves the streams of the old configuration open")
	}
}

func TestSetupLinksNeedASite(t *testing.T) {
	w, admin := newWorld(t), freePort(t)
	if err := load(t, strings.Replace(w.caddyfile(), "admin off", "admin "+admin, 1)); err != nil {
		t.Fatal(err)
	}
	createAt(t, "http://"+admin, "one.example.com")
	var status struct{ Message string }
	if code := call(t, http.MethodPost, "http://"+admin+recordsPath+"/one.example.com/setuplink", "", &status); code != 503 || !strings.Contains(status.Message, "apoxy_setup { url") {
		t.Errorf("answered with %d %q", code, status.Message)
	}
}

// What is wrong with files is said when the configuration is loaded.
func TestAWrongSetupPageIsRefused(t *testing.T) {
	w, page := newWorld(t), freePort(t)
	file := func(name, text string) string {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for _, c := range []struct{ lines, want string }{
		{"\t\turl http://" + page + "\n\t\tlogo /none.svg", "logo: open /none.svg"},
		{"\t\turl http://" + page + "\n\t\tlogo " + file("a.png", "text"), "the file is no image"},
		{"\t\turl http://" + page + "\n\t\tlogo " + file("b.svg", "<svg>"+strings.Repeat(" ", setup.MaxLogo)), "expected at most 262144"},
		{"\t\turl http://" + page + "\n\t\tmessages " + file("m.json", `{"fr": {"x": "y"}}`), `messages: fr: there is no message "x"`},
		{"\t\turl http://" + page + "\n\t\tlanguages fr", "expected one that has messages"},
		{"\t\turl {env.NO_SUCH_URL}", "url"},
		{"\t\turl http://" + page + "\n\t}\n\thandle /x/* {\n\t\tapoxy_setup {\n\t\t\turl http://other.example\n\t\t}", "expected the same of all"},
	} {
		if err := tryLoad(t, w.withSetup("off", page, c.lines)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.lines, err, c.want)
		}
	}
}
