package webhook

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
)

// Endpoint is who is told, as the configuration says.
type Endpoint struct {
	// URL is where to, as ParseURL takes it.
	URL string
	// Secrets sign; several while one is being replaced. At least one.
	Secrets []Secret
	// Events are the types that it is told of; empty: all.
	Events []string
}

const maxURL = 2048

// ParseURL checks an endpoint's URL.
func ParseURL(text string) error {
	if len(text) > maxURL {
		return fmt.Errorf("the URL has %d bytes: expected %d at most", len(text), maxURL)
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("expected a URL such as https://app.example.net/hooks, got %.200q", withoutQuery(text))
	case u.User != nil:
		return errors.New("the URL holds a user or password: take them out; the receiver knows by the signature who sends")
	case u.Fragment != "":
		return fmt.Errorf("%.200q: a fragment is never sent: take out what follows the #", withoutQuery(text))
	}
	return nil
}

// wants tells whether the endpoint is told of events of a type.
func (e Endpoint) wants(event string) bool {
	return len(e.Events) == 0 || slices.Contains(e.Events, event)
}

// key is what the endpoint's entries are kept under: a URL may hold what no key, and no
// log, should.
func (e Endpoint) key() string { return endpointKey(e.URL) }

func endpointKey(url string) string {
	sum := sha256.Sum256([]byte(url))
	return hex.EncodeToString(sum[:10])
}

// shown is the URL for logs: without query, user and password, which may be secrets.
func (e Endpoint) shown() string { return withoutQuery(e.URL) }

func withoutQuery(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "(no URL)"
	}
	u.User, u.RawQuery, u.ForceQuery, u.Fragment = nil, "", false, ""
	return u.String()
}
