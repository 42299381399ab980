package caddyapoxy

import (
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/apoxy-dev/caddy-apoxy/certstorage"
)

// UnmarshalCaddyfile sets up the storage. Syntax:
//
//	storage apoxy {
//		encryption_key <key...>
//		lost_key       <id...>
//		store          <engine> ...
//	}
func (s *Storage) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the module's name
	if d.NextArg() {
		return d.Errf("storage apoxy takes a block, got the argument %q", d.Val())
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		switch option := d.Val(); option {
		case "encryption_key":
			keys := d.RemainingArgs()
			if len(keys) == 0 {
				return d.Err("storage apoxy: encryption_key: expected 32 random bytes in base64 or hexadecimal, such as {file./run/secrets/storage.key}")
			}
			for _, key := range keys {
				if _, err := certstorage.ParseKey(key); err != nil && !hasPlaceholder(key) {
					return d.Errf("storage apoxy: encryption_key: %v", err)
				}
			}
			s.EncryptionKeys = append(s.EncryptionKeys, keys...)
		case "lost_key":
			ids := d.RemainingArgs()
			if len(ids) == 0 {
				return d.Err("storage apoxy: lost_key: expected the ID of a key, as errors name it")
			}
			for _, id := range ids {
				if _, err := certstorage.ParseID(id); err != nil {
					return d.Errf("storage apoxy: lost_key: %v", err)
				}
			}
			s.LostKeys = append(s.LostKeys, ids...)
		case "store":
			if err := parseStore(d, &s.StoreRaw); err != nil {
				return err
			}
		default:
			return d.Errf("storage apoxy has no option %q: expected encryption_key, lost_key or store", option)
		}
	}
	return nil
}
