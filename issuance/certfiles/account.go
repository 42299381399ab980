package certfiles

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"
)

// accountKeys are the keys at which certmagic stores an account and its private key.
func accountKeys(issuerKey, email string) (registration, privateKey string) {
	email = strings.ToLower(email)
	folder, file := email, email
	if email == "" {
		folder, file = "default", "default"
	}
	if at := strings.Index(file, "@"); at == 0 {
		file = file[1:]
	} else if at > 0 {
		file = file[:at]
	}
	safe := certmagic.StorageKeys.Safe
	dir := path.Join(usersPrefix(issuerKey), safe(folder))
	return path.Join(dir, safe(file)+".json"), path.Join(dir, safe(file)+".key")
}

func usersPrefix(issuerKey string) string {
	return path.Join("acme", certmagic.StorageKeys.Safe(issuerKey), "users")
}

// LoadAccount reads the account of an email address, "" for the one without, and its
// private key in PEM. The error is fs.ErrNotExist if there is none.
func LoadAccount(ctx context.Context, st certmagic.Storage, issuerKey, email string) (acct acmez.Account, keyPEM []byte, err error) {
	reg, key := accountKeys(issuerKey, email)
	raw, err := st.Load(ctx, reg)
	if err != nil {
		return acct, nil, err
	}
	if keyPEM, err = st.Load(ctx, key); err != nil {
		return acct, nil, err
	}
	if err := json.Unmarshal(raw, &acct); err != nil {
		return acct, nil, fmt.Errorf("decoding account %s: %w", reg, err)
	}
	if acct.PrivateKey, err = certmagic.PEMDecodePrivateKey(keyPEM); err != nil {
		return acct, nil, fmt.Errorf("decoding account key %s: %w", key, err)
	}
	return acct, keyPEM, nil
}

// SaveAccount writes an account and its private key.
func SaveAccount(ctx context.Context, st certmagic.Storage, issuerKey string, acct acmez.Account) error {
	raw, err := json.MarshalIndent(acct, "", "\t")
	if err != nil {
		return fmt.Errorf("encoding account: %w", err)
	}
	keyPEM, err := certmagic.PEMEncodePrivateKey(acct.PrivateKey)
	if err != nil {
		return fmt.Errorf("encoding account key: %w", err)
	}
	reg, key := accountKeys(issuerKey, ContactOf(acct))
	if err := st.Store(ctx, reg, raw); err != nil {
		return fmt.Errorf("storing account: %w", err)
	}
	if err := st.Store(ctx, key, keyPEM); err != nil {
		return fmt.Errorf("storing account key: %w", err)
	}
	return nil
}

// DeleteAccount removes an account and its private key.
func DeleteAccount(ctx context.Context, st certmagic.Storage, issuerKey string, acct acmez.Account) error {
	reg, key := accountKeys(issuerKey, ContactOf(acct))
	if err := st.Delete(ctx, reg); err != nil {
		return fmt.Errorf("deleting account: %w", err)
	}
	if err := st.Delete(ctx, key); err != nil {
		return fmt.Errorf("deleting account key: %w", err)
	}
	return nil
}

// LatestEmail is the address of the account that was stored last for an issuer, which
// is the one that certmagic uses by default; empty: there is none, or it has no address.
func LatestEmail(ctx context.Context, st certmagic.Storage, issuerKey string) string {
	users, err := st.List(ctx, usersPrefix(issuerKey), false)
	if err != nil {
		return ""
	}
	var newest time.Time
	var email string
	for _, u := range users {
		info, err := st.Stat(ctx, u)
		if err != nil || info.IsTerminal || !info.Modified.After(newest) {
			continue
		}
		newest, email = info.Modified, path.Base(u)
	}
	if email == "default" {
		return ""
	}
	return email
}

// AccountLock is the name of the lock under which certmagic registers an account.
func AccountLock(email string) string {
	if email == "" {
		return "register_acme_account"
	}
	return "register_acme_account_" + email
}

// ContactOf is the email address under which certmagic stores an account.
func ContactOf(a acmez.Account) string {
	if len(a.Contact) == 0 {
		return ""
	}
	if _, address, ok := strings.Cut(a.Contact[0], ":"); ok {
		return address
	}
	return a.Contact[0]
}
