package caddyapoxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// withDashboard is the configuration with the dashboard below /domains, read-only below /ro.
func (w world) withDashboard(admin string) string {
	return strings.Replace(w.withHook(admin, ""), "\tbind 127.0.0.1\n", `	bind 127.0.0.1
	handle_path /domains* {
		apoxy_dashboard {
			allow_writes
		}
	}
	handle_path /ro/* {
		apoxy_dashboard
	}
`, 1)
}

// browse asks for a page as a browser does that is sent there by one of the same origin.
func browse(t *testing.T, method, page string, form url.Values) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequest(method, page, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	own := r.URL.Scheme + "://" + r.URL.Host
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Referer", own+"/")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", own)
	}
	r.Close = true
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

// The dashboard of a site, wherever it is mounted, and that of the admin endpoint show what
// the API has, and write only where they may.
func TestTheDashboardShowsRecords(t *testing.T) {
	w, admin := newWorld(t), freePort(t)
	if err := load(t, w.withDashboard(admin)); err != nil {
		t.Fatal(err)
	}
	createAt(t, "http://"+admin, "shop.example.com")
	site := "http://" + w.web
	for _, at := range []string{site + "/domains/", site + "/ro/", "http://" + admin + "/apoxy/"} {
		if answer, text := browse(t, http.MethodGet, at, nil); answer.StatusCode != http.StatusOK || !strings.Contains(text, "Who must act") {
			t.Errorf("%s: %s %s", at, answer.Status, text)
		}
		if _, text := browse(t, http.MethodGet, at+"records?q=SHOP", nil); !strings.Contains(text, `<a href="records/shop.example.com">shop.example.com</a>`) {
			t.Errorf("%srecords?q=SHOP does not find the record:\n%s", at, text)
		}
		_, text := browse(t, http.MethodGet, at+"records/shop.example.com", nil)
		if !strings.Contains(text, "shop.example.com.cname.example.net.") || strings.Contains(text, "Check now") != !strings.Contains(at, "/ro/") {
			t.Errorf("%srecords/shop.example.com:\n%s", at, text)
		}
		style := regexp.MustCompile(`assets/style\.\w+\.css`).FindString(text)
		if answer, _ := browse(t, http.MethodGet, at+style, nil); answer.StatusCode != http.StatusOK || answer.Header.Get("Content-Type") != "text/css; charset=utf-8" {
			t.Errorf("%s%s: %s", at, style, answer.Status)
		}
	}
	for asked, want := range map[string]string{site + "/domains?x=1": "./domains/?x=1", "http://" + admin + "/apoxy": "./apoxy/"} {
		if answer, _ := browse(t, http.MethodGet, asked, nil); answer.Header.Get("Location") != want {
			t.Errorf("%s: %s to %q, want %q", asked, answer.Status, answer.Header.Get("Location"), want)
		}
	}
	if answer, _ := browse(t, http.MethodPost, site+"/ro/records/shop.example.com/delete", nil); answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") == "" {
		t.Errorf("a read-only dashboard answers a POST with %s", answer.Status)
	}
}

func TestTheDashboardDeletes(t *testing.T) {
	w, admin := newWorld(t), freePort(t)
	if err := load(t, w.withDashboard(admin)); err != nil {
		t.Fatal(err)
	}
	hidden := regexp.MustCompile(`name="(uid|resourceVersion)" value="([^"]+)"`)
	for name, at := range map[string]string{"a.example.com": "http://" + w.web + "/domains/", "b.example.com": "http://" + admin + "/apoxy/"} {
		createAt(t, "http://"+admin, name)
		page := at + "records/" + name + "/delete"
		until(t, name+" to be deleted", func() bool { // looks at it may change it meanwhile
			_, text := browse(t, http.MethodGet, page, nil)
			form := url.Values{}
			for _, m := range hidden.FindAllStringSubmatch(text, -1) {
				form.Set(m[1], m[2])
			}
			answer, _ := browse(t, http.MethodPost, page, form)
			return answer.StatusCode == http.StatusSeeOther
		})
		if code := call(t, http.MethodGet, "http://"+admin+recordsPath+"/"+name, "", nil); code != http.StatusNotFound {
			t.Errorf("after its deletion %s is answered with %d", name, code)
		}
	}
}

// A stream is told of changes, and neither a reload nor the end of Caddy waits for it.
func TestAReloadEndsTheDashboardsStreams(t *testing.T) {
	w, admin := newWorld(t), freePort(t)
	if err := load(t, w.withDashboard(admin)); err != nil {
		t.Fatal(err)
	}
	listen := func(at string) *bufio.Scanner {
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, at+"live", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { answer.Body.Close() })
		lines := bufio.NewScanner(answer.Body)
		if !lines.Scan() {
			t.Fatalf("%slive has ended: %v", at, lines.Err())
		}
		return lines
	}
	site, endpoint := listen("http://"+w.web+"/domains/"), listen("http://"+admin+"/apoxy/")
	createAt(t, "http://"+admin, "a.example.com")
	for name, lines := range map[string]*bufio.Scanner{"site": site, "admin endpoint": endpoint} {
		told := false
		for !told && lines.Scan() {
			told = lines.Text() == "data: changed"
		}
		if !told {
			t.Errorf("the %s's stream is not told of a new record", name)
		}
	}
	if err := load(t, strings.Replace(w.withDashboard(admin), "persist_config off", "persist_config off\n\tgrace_period 1h", 1)); err != nil {
		t.Fatal(err)
	}
	for _, lines := range []*bufio.Scanner{site, endpoint} {
		for lines.Scan() {
		}
	}
	last := listen("http://" + w.web + "/domains/")
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	for last.Scan() {
	}
}

// A browser that an address is typed into names no origin: Caddy's admin endpoint refuses
// it unless the empty one is listed, and goes on refusing the pages of other sites.
func TestATypedAddressOpensTheDashboard(t *testing.T) {
	w, admin := newWorld(t), freePort(t)
	ask := func(method, origin string) int {
		r, err := http.NewRequest(method, "http://"+admin+"/apoxy/", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		if origin != "" {
			r.Header.Set("Origin", origin)
		}
		r.Close = true
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	for config, want := range map[string]int{
		"admin " + admin: http.StatusForbidden,
		"admin " + admin + " {\n\t\torigins " + admin + " \"\"\n\t}": http.StatusOK,
	} {
		if err := load(t, strings.Replace(w.caddyfile(), "admin off", config, 1)); err != nil {
			t.Fatal(err)
		}
		if got := ask(http.MethodGet, ""); got != want {
			t.Errorf("with %s a typed address is answered with %d, want %d", config, got, want)
		}
		for _, origin := range []string{"https://evil.example", "null"} {
			if got := ask(http.MethodPost, origin); got != http.StatusForbidden && got != http.StatusBadRequest {
				t.Errorf("with %s a POST from %s is answered with %d", config, origin, got)
			}
		}
	}
}

// Whoever leaves while name servers are asked leaves nothing behind for those who ask next.
func TestWhoLeavesDoesNotSpoilASurvey(t *testing.T) {
	w := newWorld(t)
	if err := load(t, w.caddyfile()); err != nil {
		t.Fatal(err)
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	rt := running(t).held
	for i := range 20 { // where two things are ready, Go takes either
		got := rt.survey(gone, fmt.Sprintf("h%d.customer.test.", i))
		if strings.Contains(got.Trouble, "cancel") || strings.Contains(got.Trouble, "Others") || got.Trouble == "" && len(got.Servers) == 0 {
			t.Errorf("told %+v", got)
		}
	}
}
