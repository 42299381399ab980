package domainconnect

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Bounds of what a stranger says of itself.
const (
	maxDiscovery = 253 // octets of the TXT record
	maxPrefix    = 512 // octets of a URL's prefix
)

// settings is what a DNS provider answers of a zone, as far as it is used.
type settings struct {
	syncUX, api string // prefixes without a final slash; syncUX may be empty
}

// errNotOffered: the provider said, in so many words, that it does not do it.
var errNotOffered = errors.New("not offered")

// readSettings reads the answer of the settings end-point. errNotOffered: it has no
// synchronous flow, or asks for an understanding that we do not have.
func readSettings(body []byte) (settings, error) {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return settings{}, errors.New("reading the provider's settings: no JSON object")
	}
	text := func(name string) (string, error) {
		var s string
		if raw, ok := all[name]; ok && string(raw) != "null" {
			if err := json.Unmarshal(raw, &s); err != nil {
				return "", fmt.Errorf("reading the provider's settings: %s is no text", name)
			}
		}
		return s, nil
	}
	var critical []string
	if raw, ok := all["crit"]; ok && json.Unmarshal(raw, &critical) != nil {
		return settings{}, errors.New("reading the provider's settings: crit is no list of names")
	}
	for _, name := range critical {
		if _, there := all[name]; there && name != "urlSyncUX" && name != "urlAPI" {
			return settings{}, fmt.Errorf("%w: the provider wants %.60q to be understood", errNotOffered, name)
		}
	}
	var s settings
	for name, to := range map[string]*string{"urlSyncUX": &s.syncUX, "urlAPI": &s.api} {
		v, err := text(name)
		if err != nil {
			return settings{}, err
		}
		if v == "" && name == "urlSyncUX" {
			continue
		}
		if *to, err = prefix(v); err != nil {
			return settings{}, fmt.Errorf("reading the provider's settings: %s: %w", name, err)
		}
	}
	if s.syncUX == "" {
		return settings{}, fmt.Errorf("%w: the provider has no synchronous flow", errNotOffered)
	}
	return s, nil
}

// prefix checks the prefix of a provider's URLs: https, a host name, perhaps a port and
// a path, and nothing else.
func prefix(text string) (string, error) {
	if text == "" || len(text) > maxPrefix {
		return "", fmt.Errorf("%.60q: expected a URL of %d octets at most", text, maxPrefix)
	}
	for i := range len(text) {
		if c := text[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>\^{|}`+"`", c) >= 0 {
			return "", fmt.Errorf("%.60q: expected a URL, and its octets encoded", text)
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Opaque != "" || strings.Contains(text, "#") {
		return "", fmt.Errorf("%.60q: expected https://HOST[/PATH]", text)
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == ".." || part == "." {
			return "", fmt.Errorf("%.60q: expected a path that leads down", text)
		}
	}
	if err := checkHost(u); err != nil {
		return "", err
	}
	return strings.TrimSuffix(text, "/"), nil
}

// checkHost wants a name that DNS has, not an address, and a port that HTTPS may have.
func checkHost(u *url.URL) error {
	host := u.Hostname()
	if _, err := netip.ParseAddr(host); err == nil || !strings.Contains(strings.Trim(host, "."), ".") || len(host) > 253 {
		return fmt.Errorf("host %.60q: expected a host name", host)
	}
	for i := range len(host) {
		if c := host[i]; !(isAlphanumeric(c) || c == '-' || c == '.' || c == '_') {
			return fmt.Errorf("host %.60q: expected letters, digits, hyphens and dots", host)
		}
	}
	if u.Port() == "" {
		return nil
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port != 443 && port < 1024 {
		return fmt.Errorf("port %.10q: expected 443 or one from 1024 on", u.Port())
	}
	return nil
}

// settingsURL is where the settings of a zone (without the final dot) are asked for, by
// one TXT record's text, which has no scheme.
func settingsURL(text, zone string) (string, error) {
	if len(text) > maxDiscovery {
		return "", fmt.Errorf("%.60q: expected %d octets at most", text, maxDiscovery)
	}
	at, err := prefix("https://" + text)
	if err != nil {
		return "", err
	}
	return at + "/v2/" + url.PathEscape(zone) + "/settings", nil
}
