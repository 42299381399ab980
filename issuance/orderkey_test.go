package issuance

import (
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/certtest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

func TestAKeyIsUsedAgainFromEitherForm(t *testing.T) {
	const host = "a.example.com"
	w := newWorld(t)
	w.magic.ReusePrivateKeys = true
	c := w.is.cas()[0]
	m := certtest.New(t, host, 1, time.Hour)
	for name, store := range map[string]func(){
		"ours":        func() { saved(t, m, c.Storage(), c.Key, host) },
		"three files": func() { certtest.SaveStock(t, m, certfiles.Unwrap(c.Storage()), c.Key, host) },
	} {
		store()
		key, err := c.newKey(t.Context(), host, "")
		if err != nil || !m.Key.Equal(key) {
			t.Errorf("%s: %v, %v", name, key, err)
		}
	}
}
