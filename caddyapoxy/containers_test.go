package caddyapoxy

import (
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/apoxy-dev/caddy-apoxy/cli"
)

func containersPage(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/containers.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```" + language + "\n(.*?)```").FindSubmatch(page)
	if block == nil {
		t.Fatalf("docs/containers.md has no block of %s", language)
	}
	return string(block[1])
}

// The page's proxy in front of the admin endpoint, with the page's user and password.
func TestTheAdminEndpointIsReachedThroughAReverseProxy(t *testing.T) {
	w, admin, proxy := newWorld(t), freePort(t), freePort(t)
	const (
		costly = "$2a$10$bzId7Sb.eLO0Wb.BkJ2KDecCO2J9GnfAtLXOeo9LScOGM1vlXmvry"
		cheap  = "$2a$04$BH2JrArk5peLMKjjxftwLeynLYxCdSCP6XeNwPyIhZCpKcuOW1IGa" // of the same password: with the race detector the other takes seconds
	)
	config := strings.NewReplacer(costly, cheap, "localhost:2019", "localhost:"+port(t, admin), ":2020", ":"+port(t, proxy), "bind 10.0.0.2", "bind 127.0.0.1",
		"\tapoxy {\n", fmt.Sprintf("\tpersist_config off\n\tstorage file_system %s\n\thttp_port %s\n\tapoxy {\n\t\tdns %s\n\t\tresolvers %s\n\t\tstore bolt %s/apoxy.db\n", w.dir, port(t, w.web), w.dns, w.dns, w.dir),
	).Replace(containersPage(t, "caddyfile"))
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	for address, says := range map[string]string{
		"http://ops:secret@" + proxy: "",
		"http://ops:wrong@" + proxy:  "401",
		"http://" + proxy:            "401",
	} {
		var out, errs strings.Builder
		cmd := cli.Command(cli.Env{Client: adminClient, Flags: adminFlags, Stdin: strings.NewReader(manifestOf("api.example.com")), Stdout: &out, Stderr: &errs})
		cmd.SetArgs([]string{"apply", "-f", "-", "--address", address})
		err := cmd.ExecuteContext(t.Context())
		if (err == nil) != (says == "") || !strings.Contains(errs.String(), says) {
			t.Errorf("apply through %s: %v: %q, %s", address, err, out.String(), errs.String())
		}
		if strings.Contains(errs.String(), "secret") || strings.Contains(errs.String(), "wrong") {
			t.Errorf("the error shows the password: %s", errs.String())
		}
	}
	// Origins in place of the proxy's header_up Host.
	_, number, _ := net.SplitHostPort(admin)
	config = strings.Replace(config, "admin localhost:"+number+"\n", "admin localhost:"+number+" {\n\t\torigins 127.0.0.1:"+port(t, proxy)+"\n\t}\n", 1)
	config = strings.Replace(config, "\t\theader_up Host {upstream_hostport}\n", "\t\theader_up Host {hostport}\n", 1)
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd := cli.Command(cli.Env{Client: adminClient, Flags: adminFlags, Stdout: &out, Stderr: &errs})
	cmd.SetArgs([]string{"get", "api.example.com", "-o", "name", "--address", "http://ops:secret@" + proxy})
	if err := cmd.ExecuteContext(t.Context()); err != nil || !strings.Contains(out.String(), "api.example.com") {
		t.Errorf("get by origins: %v: %q, %s", err, out.String(), errs.String())
	}
}

// A second pod beside the first would wait for the file's lock for ever.
func TestTheKubernetesManifestHasOnePodAtATime(t *testing.T) {
	var set struct {
		Kind string
		Spec struct {
			Replicas             int
			ServiceName          string
			VolumeClaimTemplates []any
		}
	}
	if err := yaml.Unmarshal([]byte(containersPage(t, "yaml")), &set); err != nil {
		t.Fatal(err)
	}
	if set.Kind != "StatefulSet" || set.Spec.Replicas != 1 || set.Spec.ServiceName == "" || len(set.Spec.VolumeClaimTemplates) != 1 {
		t.Errorf("the manifest is %+v", set)
	}
}
