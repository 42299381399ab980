package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 16 << 20

// adminTimeout is how long the admin endpoint may take for one answer.
const adminTimeout = 30 * time.Second

// samples is how many hostnames are looked at in the zone.
const samples = 3

// Learn asks a running Caddy's admin endpoint, at the base URL, for its set-up.
func Learn(ctx context.Context, client *http.Client, base string) (Setup, error) {
	base = strings.TrimSuffix(base, "/")
	app, err := get(ctx, client, base+"/config/apps/apoxy")
	if err != nil {
		return Setup{}, fmt.Errorf("asking Caddy's admin endpoint at %s for its configuration: %w; --address names another endpoint", base, err)
	}
	automation, err := get(ctx, client, base+"/config/apps/tls/automation")
	if err != nil {
		return Setup{}, fmt.Errorf("asking Caddy's admin endpoint at %s for its TLS policies: %w; --address names another endpoint", base, err)
	}
	s, err := parseSetup(app, automation)
	if err != nil {
		return Setup{}, err
	}
	for path, port := range map[string]*int{"http_port": &s.HTTPPort, "https_port": &s.HTTPSPort} {
		var n int
		if text, err := get(ctx, client, base+"/config/apps/http/"+path); err == nil && json.Unmarshal(text, &n) == nil && n > 0 {
			*port = n
		}
	}
	var list struct {
		Items []struct {
			Spec struct{ Name string }
		}
	}
	text, err := get(ctx, client, fmt.Sprintf("%s/apis/core.apoxy.dev/v1alpha3/domainrecords?limit=%d", base, samples))
	if err == nil && json.Unmarshal(text, &list) == nil {
		for _, item := range list.Items[:min(len(list.Items), samples)] {
			s.Hostnames = append(s.Hostnames, item.Spec.Name)
		}
	}
	return s, nil
}

// rootOf fetches the root of one of Caddy's own authorities, in PEM.
func rootOf(ctx context.Context, client *http.Client, base, id string) (string, error) {
	text, err := get(ctx, client, strings.TrimSuffix(base, "/")+"/pki/ca/"+id)
	if err != nil {
		return "", fmt.Errorf("asking for the root of Caddy's authority %q: %w", id, err)
	}
	var ca struct {
		Root string `json:"root_certificate"`
	}
	if err := json.Unmarshal(text, &ca); err != nil {
		return "", fmt.Errorf("reading the root of Caddy's authority %q: %w", id, err)
	}
	if ca.Root == "" {
		return "", fmt.Errorf("asking for the root of Caddy's authority %q: it has none", id)
	}
	return ca.Root, nil
}

func get(ctx context.Context, client *http.Client, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, adminTimeout, fmt.Errorf("it has not answered within %v", adminTimeout))
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, cmp.Or(context.Cause(ctx), err)
	}
	// Caddy answers 400 for a path that leads through nothing.
	if resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusNotFound {
		return []byte("null"), nil
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("it answered %s", resp.Status)
	}
	return body, nil
}
