package caddyapoxy

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

func TestWhatTheZonesCAALinesForbid(t *testing.T) {
	const le = `0 issue "letsencrypt.org"`
	for _, c := range []struct {
		is      string
		records []string
		issuers []string
		want    bool
	}{
		{"no lines", nil, []string{"letsencrypt.org"}, false},
		{"a line for it", []string{le}, []string{"letsencrypt.org"}, false},
		{"a line with parameters", []string{`0 issue "letsencrypt.org; validationmethods=dns-01"`}, []string{"letsencrypt.org"}, false},
		{"a line without quotes", []string{"0  issue\tletsencrypt.org"}, []string{"letsencrypt.org"}, false},
		{"a line for one of two", []string{le}, []string{"sectigo.com", "letsencrypt.org"}, false},
		{"a line for another", []string{`0 issue "pki.goog"`}, []string{"letsencrypt.org"}, true},
		{"a line for nobody", []string{`0 issue ";"`}, []string{"letsencrypt.org"}, true},
		{"no wildcards", []string{le, `0 issuewild ";"`}, []string{"letsencrypt.org"}, false},
		{"reports alone", []string{`0 iodef "mailto:a@example.net"`}, []string{"letsencrypt.org"}, false},
		{"an authority whose name is not known yet", []string{le}, nil, false},
	} {
		var issuers []ownership.Issuer
		for _, name := range c.issuers {
			issuers = append(issuers, ownership.Issuer{Identities: []string{name}, Methods: []string{"dns-01", "http-01"}})
		}
		if got := caaForbids(c.records, "cname.example.net", issuers); got != c.want {
			t.Errorf("%s: %v, want %v", c.is, got, c.want)
		}
	}
}

func TestCAALinesThatForbidEveryIssuerAreWarnedOfAtLoad(t *testing.T) {
	for line, warns := range map[string]bool{"pki.goog": true, "letsencrypt.org": false} {
		w, https := newWorld(t), freePort(t)
		file := filepath.Join(w.dir, "log")
		config := readmeCaddyfile(t, w, https, "log {\noutput file "+file+"\n}", "")
		config = strings.Replace(config, "\t\t\tedge ", "\t\t\tcaa 0 issue \""+line+"\"\n\t\t\tedge ", 1)
		if err := load(t, config); err != nil {
			t.Fatal(err)
		}
		said, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(said, []byte("forbid the configured certificate authorities")); n > 1 || n == 1 != warns {
			t.Errorf("caa for %s is warned of %d times", line, n)
		}
	}
}
