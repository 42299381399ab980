package setup

import (
	"cmp"
	"html"
	"html/template"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/language"
)

// Bounds of what is taken of a request and shown of foreign text, in octets.
const (
	maxAcceptLanguage = 500
	maxLangQuery      = 35 // RFC 5646 section 4.4.1
	maxShown          = 300
)

// words are what a page says, in one language.
type words struct {
	// Lang is the language as HTML names it, Dir the direction it is written in.
	Lang, Dir string
	messages  map[string]string
	english   map[string]string // for what messages lack
}

// message is the text of a key, with its places not filled in. A key that nobody has is
// shown as it is: tests hold that there is none.
func (w *words) message(key string) string {
	if m, ok := w.messages[key]; ok {
		return m
	}
	if m, ok := w.english[key]; ok {
		return m
	}
	return key
}

// name is what the language calls itself, or its tag.
func (w *words) name() string { return cmp.Or(w.messages["languageName"], w.Lang) }

// Say is a message for HTML: pairs of names and values fill its places, each set off as
// what is to be typed or was seen. The values may be anybody's.
func (w *words) Say(key string, pairs ...string) template.HTML {
	return template.HTML(fill(w.message(key), pairs, html.EscapeString, func(v string) string {
		return `<code dir="ltr">` + html.EscapeString(clean(v)) + "</code>"
	}))
}

// Plain is a message as plain text.
func (w *words) Plain(key string, pairs ...string) string {
	return fill(w.message(key), pairs, func(s string) string { return s }, clean)
}

// fill puts values into a message at their names in braces. What a value holds is never
// taken for a place.
func fill(message string, pairs []string, text, value func(string) string) string {
	var b strings.Builder
	for {
		open := strings.IndexByte(message, '{')
		if open < 0 {
			break
		}
		end := strings.IndexByte(message[open:], '}')
		if end < 0 {
			break
		}
		b.WriteString(text(message[:open]))
		b.WriteString(value(valueOf(message[open+1:open+end], pairs)))
		message = message[open+end+1:]
	}
	b.WriteString(text(message))
	return b.String()
}

func valueOf(name string, pairs []string) string {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == name {
			return pairs[i+1]
		}
	}
	return ""
}

// clean makes foreign text fit to be shown: one line, cut, and without what is not seen
// or turns the text around it (Unicode's Bidi_Control, UAX #9).
func clean(s string) string {
	long := len(s) > maxShown
	if long {
		s = s[:maxShown]
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return '?'
		case r == ' ':
			return r
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r): // Cf, with all of Bidi_Control, is none
			return '\uFFFD'
		}
		return r
	}, s)
	if long {
		s += "…"
	}
	return s
}

// tongues are the languages that a site offers, the first for whoever wants none of them.
type tongues struct {
	all     []*words
	matcher language.Matcher
}

func newTongues(languages []string, messages Messages) tongues {
	t := tongues{}
	var tags []language.Tag
	for _, l := range languages {
		tag := language.Make(l)
		tags = append(tags, tag)
		t.all = append(t.all, &words{Lang: tag.String(), Dir: direction(tag), messages: messages[l], english: messages[english]})
	}
	t.matcher = language.NewMatcher(tags)
	return t
}

// of is the language that a request asks for: by ?lang=, then by Accept-Language.
func (t tongues) of(r *http.Request) *words {
	if want := r.URL.Query().Get("lang"); want != "" && len(want) <= maxLangQuery {
		if tag, err := language.Parse(want); err == nil {
			if _, i, confidence := t.matcher.Match(tag); confidence >= language.High {
				return t.all[i]
			}
		}
	}
	header := strings.Join(r.Header.Values("Accept-Language"), ",")
	if len(header) > maxAcceptLanguage {
		return t.all[0]
	}
	tags, _, err := language.ParseAcceptLanguage(header)
	if err != nil {
		return t.all[0]
	}
	_, i, confidence := t.matcher.Match(tags...)
	if confidence == language.No {
		return t.all[0]
	}
	return t.all[i]
}

// direction is that of a language's script.
func direction(tag language.Tag) string {
	script, _ := tag.Script()
	switch script.String() {
	case "Arab", "Hebr", "Thaa", "Syrc", "Nkoo", "Adlm", "Rohg":
		return "rtl"
	}
	return "ltr"
}
