package acme

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/words"
)

// zeroSSLCredentials is the URL at which ZeroSSL makes external account credentials for
// an email address. Caddy's own issuer uses it, too.
const zeroSSLCredentials = "https://api.zerossl.com/acme/eab-credentials-email"

// binding returns the external account that a new account is to be bound to (RFC 8555
// section 7.3.4), nil for none: the configured one, or at ZeroSSL one that is made for
// the email address.
func (c *CA) binding(ctx context.Context, email string) (*acmez.EAB, error) {
	if c.Auth.ExternalAccount != nil || c.Auth.Host() != hostZeroSSL {
		return c.Auth.ExternalAccount, nil
	}
	if email == "" {
		return nil, accountFailed("", errors.New("ZeroSSL wants an email address"), "The operator sets `email` or `eab` in the issuer block and reloads")
	}
	return requestEAB(ctx, c.Client.HTTPClient, zeroSSLCredentials, email)
}

// requestEAB asks for external account credentials for an email address.
func requestEAB(ctx context.Context, client *http.Client, endpoint, email string) (*acmez.EAB, error) {
	form := url.Values{"email": {email}}.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form))
	if err != nil {
		return nil, fmt.Errorf("asking for external account credentials: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("asking for external account credentials: %w", err)
	}
	defer resp.Body.Close()
	var answer struct {
		Error struct {
			Code int    `json:"code"`
			Type string `json:"type"`
		} `json:"error"`
		KeyID  string `json:"eab_kid"`
		MACKey string `json:"eab_hmac_key"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("reading external account credentials (HTTP %d): %w", resp.StatusCode, err)
	}
	// Its refusals come with status 200.
	if answer.Error.Code != 0 || resp.StatusCode != http.StatusOK || answer.KeyID == "" {
		refusal := fmt.Errorf("HTTP %d %s (code %d)", resp.StatusCode, words.Cut(answer.Error.Type, 100), answer.Error.Code)
		return nil, accountFailed("ZeroSSL gave no external account credentials", refusal,
			"The operator makes them at ZeroSSL, sets them as `eab KEY_ID MAC_KEY` in the issuer block, and reloads")
	}
	return &acmez.EAB{KeyID: answer.KeyID, MACKey: answer.MACKey}, nil
}
