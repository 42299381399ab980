package js

import (
	"strings"

	whatwg "github.com/nlnwa/whatwg-url/url"
)

// URLs are parsed as the WHATWG URL standard has it. What github.com/nlnwa/whatwg-url
// does takes time by the square of some lengths, and a client may send a URL of a
// megabyte: it is given the part before the path alone, bounded, and URLs that are
// neither http nor https, bounded too. Paths, queries and fragments are done here, in
// one pass.
const (
	maxAuthority = 1 << 10
	maxOther     = 4 << 10
)

// webURL is a URL of http or https.
type webURL struct {
	site                  *whatwg.Url // without path, query and fragment
	path, query, fragment string      // the latter two with their mark, or empty
}

// href is the URL, serialised.
func (u *webURL) href() string {
	return strings.TrimSuffix(u.site.Href(true), "/") + u.path + u.query + u.fragment
}

// parts is a URL in the lines that the prelude's class has: the attributes of the
// standard, section 6.1.
func (u *webURL) parts() string {
	mark := func(s string) string {
		if len(s) == 1 {
			return ""
		}
		return s
	}
	s := u.site
	return strings.Join([]string{
		u.href(), s.Protocol(), s.Username(), s.Password(), s.Host(), s.Hostname(), s.Port(),
		u.path, mark(u.query), mark(u.fragment), origin(s),
	}, "\n")
}

func partsOfOther(u *whatwg.Url) string {
	return strings.Join([]string{
		u.Href(false), u.Protocol(), u.Username(), u.Password(), u.Host(), u.Hostname(), u.Port(),
		u.Pathname(), u.Search(), u.Hash(), origin(u),
	}, "\n")
}

// origin is a URL's origin, serialised.
func origin(u *whatwg.Url) string {
	switch u.Scheme() {
	case "http", "https", "ws", "wss", "ftp":
		return u.Protocol() + "//" + u.Host()
	default:
		return "null"
	}
}

var noBreaks = strings.NewReplacer("\t", "", "\n", "", "\r", "")

// strip takes off what the standard has parsers pass over.
func strip(text string) string {
	return noBreaks.Replace(strings.TrimFunc(text, func(r rune) bool { return r <= ' ' }))
}

// schemeOf returns a URL's scheme in lower case, and what follows its colon.
func schemeOf(text string) (scheme, rest string, ok bool) {
	scheme, rest, ok = strings.Cut(text, ":")
	for n := range len(scheme) {
		c := scheme[n] | 0x20
		if letter := c >= 'a' && c <= 'z'; !letter && (n == 0 || !strings.ContainsRune("0123456789+-.", rune(scheme[n]))) {
			return "", "", false
		}
	}
	return strings.ToLower(scheme), rest, ok && scheme != ""
}

// parseWeb parses an absolute URL of http or https that was stripped; nil: it is none.
func parseWeb(text string) *webURL {
	scheme, rest, ok := schemeOf(text)
	if !ok || !isWeb(scheme) {
		return nil
	}
	rest = strings.TrimLeft(rest, `/\`)
	end := strings.IndexAny(rest, `/\?#`)
	if end < 0 {
		end = len(rest)
	}
	if end > maxAuthority {
		return nil
	}
	site, err := whatwg.Parse(scheme + "://" + rest[:end] + "/")
	if err != nil {
		return nil
	}
	u := &webURL{site: site}
	u.follow(rest[end:], "")
	return u
}

// follow sets path, query and fragment by what stands after the authority, or relative
// to a directory.
func (u *webURL) follow(rest, directory string) {
	rest, fragment, hasFragment := strings.Cut(rest, "#")
	path, query, hasQuery := strings.Cut(rest, "?")
	u.path = normalised(directory + path)
	u.query, u.fragment = "", ""
	if hasQuery {
		u.query = "?" + escaped(query, inQuery)
	}
	if hasFragment {
		u.fragment = "#" + escaped(fragment, inFragment)
	}
}

// resolve returns a reference, stripped, relative to u, which it changes.
func (u *webURL) resolve(ref string) *webURL {
	if scheme, rest, ok := schemeOf(ref); ok {
		if strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, `\`) || scheme != u.site.Scheme() {
			return parseWeb(ref)
		}
		ref = rest // of the same scheme, and relative
	}
	slash := func(n int) bool { return len(ref) > n && (ref[n] == '/' || ref[n] == '\\') }
	switch {
	case slash(0) && slash(1):
		return parseWeb(u.site.Protocol() + ref)
	case slash(0):
		u.follow(ref, "")
	case ref == "":
		u.fragment = ""
	case ref[0] == '?':
		path := u.path
		u.follow(ref, "")
		u.path = path
	case ref[0] == '#':
		u.fragment = "#" + escaped(ref[1:], inFragment)
	default:
		u.follow(ref, u.path[:strings.LastIndexByte(u.path, '/')+1])
	}
	return u
}

// Characters that are percent-encoded beside controls and what is not ASCII (section 1.3).
const (
	inPath     = " \"#<>?^`{}"
	inQuery    = " \"#<>'"
	inFragment = " \"<>`"
)

// escaped percent-encodes some characters.
func escaped(text, some string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for n := range len(text) {
		c := text[n]
		if c > ' '-1 && c < 0x7f && strings.IndexByte(some, c) < 0 {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}

// normalised is a path as it is serialised: encoded, and without dots that mean a step.
func normalised(path string) string {
	path = strings.ReplaceAll(path, `\`, "/")
	var kept []string
	segments := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for n, segment := range segments {
		last := n == len(segments)-1
		switch strings.ReplaceAll(strings.ToLower(segment), "%2e", ".") {
		case "..":
			kept = kept[:max(0, len(kept)-1)]
		case ".":
		default:
			kept = append(kept, escaped(segment, inPath))
			continue
		}
		if last {
			kept = append(kept, "")
		}
	}
	return "/" + strings.Join(kept, "/")
}

// parseURL returns the parts of a URL, where there is a base relative to that; empty:
// it is none.
func parseURL(ref string, base ...string) string {
	ref = strip(ref)
	scheme, _, absolute := schemeOf(ref)
	if len(base) > 0 {
		from := strip(base[0])
		web := parseWeb(from)
		switch {
		case web != nil && (!absolute || isWeb(scheme)):
			if web = web.resolve(ref); web == nil {
				return ""
			}
			return web.parts()
		case web == nil && !absolute:
			return parseOther(from, ref)
		case web == nil && parseOther(from, "") == "":
			return ""
		}
	}
	if !isWeb(scheme) {
		return parseOther(ref, "")
	}
	web := parseWeb(ref)
	if web == nil {
		return ""
	}
	return web.parts()
}

func isWeb(scheme string) bool { return scheme == "http" || scheme == "https" }

// parseOther parses what is neither of http nor of https, and what is relative to that.
func parseOther(base, ref string) string {
	if scheme, _, _ := schemeOf(base); isWeb(scheme) || len(base)+len(ref) > maxOther {
		return ""
	}
	u, err := whatwg.Parse(base)
	if err == nil && ref != "" {
		u, err = whatwg.ParseRef(base, ref)
	}
	if err != nil {
		return ""
	}
	return partsOfOther(u)
}

// opURL parses a URL, with a second argument relative to that. null: it is none.
func opURL(i *instance, args []handle) (handle, error) {
	ref, err := i.argument(args, 0)
	if err != nil {
		return 0, err
	}
	if len(args) == 1 {
		return i.giveURL(parseURL(ref))
	}
	base, err := i.argument(args, 1)
	if err != nil {
		return 0, err
	}
	return i.giveURL(parseURL(ref, base))
}

func (i *instance) giveURL(parts string) (handle, error) {
	if parts == "" {
		return i.null()
	}
	return i.giveText(parts)
}

var setters = map[string]func(*whatwg.Url, string){
	"protocol": (*whatwg.Url).SetProtocol, "username": (*whatwg.Url).SetUsername, "password": (*whatwg.Url).SetPassword,
	"host": (*whatwg.Url).SetHost, "hostname": (*whatwg.Url).SetHostname, "port": (*whatwg.Url).SetPort,
	"pathname": (*whatwg.Url).SetPathname, "search": (*whatwg.Url).SetSearch, "hash": (*whatwg.Url).SetHash,
}

// setURL returns the parts of a URL one of whose attributes is set; empty: the URL
// stays as it is.
func setURL(href, attribute, value string) string {
	if attribute == "href" {
		return parseURL(value)
	}
	u := parseWeb(href)
	set := setters[attribute]
	if set == nil {
		return ""
	}
	if u == nil {
		if len(href)+len(value) > maxOther {
			return ""
		}
		other, err := whatwg.Parse(href)
		if err != nil {
			return ""
		}
		set(other, value)
		return partsOfOther(other)
	}
	switch value = noBreaks.Replace(value); attribute {
	case "pathname":
		u.path = normalised(value)
	case "search":
		u.query = marked("?", value, inQuery)
	case "hash":
		u.fragment = marked("#", value, inFragment)
	default:
		if len(value) > maxAuthority {
			return ""
		}
		set(u.site, value)
	}
	return u.parts()
}

func marked(mark, value, some string) string {
	value = strings.TrimPrefix(value, mark)
	if value == "" {
		return ""
	}
	return mark + escaped(value, some)
}

// opURLSet sets one attribute of a URL. null: the URL stays as it is.
func opURLSet(i *instance, args []handle) (handle, error) {
	var of [3]string // URL, attribute, value
	for n := range of {
		var err error
		if of[n], err = i.argument(args, n); err != nil {
			return 0, err
		}
	}
	return i.giveURL(setURL(of[0], of[1], of[2]))
}
