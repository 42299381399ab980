package certfiles

import (
	"context"
	"slices"
	"strings"

	"github.com/caddyserver/certmagic"
)

// The three files of a certificate.
const (
	extKey   = ".key"
	extChain = ".crt"
	extMeta  = ".json"
)

// place is one of the files of a certificate of our issuers.
type place struct {
	dir  string // certificates/<issuer>/
	name string // the hostname as certmagic writes it in keys of storage
	ext  string
}

func (p place) with(ext string) string { return p.dir + p.name + "/" + p.name + ext }
func (p place) key() string            { return p.with(extKey) }

// hostname is the name as the index writes it.
func (p place) hostname() string {
	if rest, ok := strings.CutPrefix(p.name, "wildcard_."); ok {
		return "*." + rest
	}
	return p.name
}

func placeOf(issuerKey, hostname string) place {
	return place{dir: certmagic.StorageKeys.CertsPrefix(issuerKey) + "/", name: certmagic.StorageKeys.Safe(hostname), ext: extKey}
}

// site takes a key of storage apart; false: it is no certificate file of our issuers.
func (f *Front) site(key string) (place, bool) {
	if !strings.HasPrefix(key, "certificates/") {
		return place{}, false
	}
	for _, d := range f.issuers() {
		rest, ok := strings.CutPrefix(key, d.path)
		if !ok {
			continue
		}
		name, file, ok := strings.Cut(rest, "/")
		ext, same := strings.CutPrefix(file, name)
		if ok && same && (ext == extKey || ext == extChain || ext == extMeta) {
			return place{d.path, name, ext}, true
		}
	}
	return place{}, false
}

// known is where the index has a certificate, and its serial number.
type known struct {
	place
	serial string
}

// home returns where the index has an unexpired certificate for the hostname at p: its
// own, else that of the wildcard over it, which certmagic asks for next. One that the
// records hide from handshakes is left out; own is what they say of the hostname's
// own. false: there is none in a place that certmagic looks at.
func (s *storage) home(ctx context.Context, p place, own Shown) (known, bool) {
	index := s.front.known()
	if index == nil {
		return known{}, false
	}
	names := make([]string, 0, 2)
	if own != HideOwn {
		names = append(names, p.hostname())
	}
	if wildcard := wildcardOver(p.hostname()); own != ShowOwn && s.shown(ctx, wildcard) != HideOwn {
		names = append(names, wildcard)
	}
	issuerKey, hostname, serial := index.Held(names)
	dir := s.front.dirOf(issuerKey)
	if dir == "" {
		return known{}, false
	}
	at := place{dir, certmagic.StorageKeys.Safe(hostname), p.ext}
	return known{at, serial}, at.dir == p.dir || slices.Contains(s.dirs(), at.dir)
}

// dirs are the folders of our issuers that certmagic looks at with this configuration.
// The folders of other issuers are read as ever.
func (s *storage) dirs() (out []string) {
	for _, member := range s.cfg.Issuers {
		if dir := s.front.dirOf(member.IssuerKey()); dir != "" {
			out = append(out, dir)
		}
	}
	return out
}

// wildcardOver is the wildcard that certmagic looks for after a hostname.
func wildcardOver(hostname string) string {
	_, parent, _ := strings.Cut(hostname, ".")
	return "*." + parent
}
