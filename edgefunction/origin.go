package edgefunction

import (
	"fmt"
	"net/url"
	"strings"
)

// Origin is the origin of a URL without a path, as Settings.Fetch wants it:
// scheme://host[:port] in lower case, without a default port. Another text is an error.
func Origin(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil ||
		u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", fmt.Errorf("%.200q is no origin: expected scheme and host, such as https://api.example.net", text)
	}
	host := strings.TrimSuffix(strings.ToLower(u.Host), map[string]string{"http": ":80", "https": ":443"}[u.Scheme])
	return u.Scheme + "://" + host, nil
}
