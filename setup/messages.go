package setup

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/language"
)

//go:embed messages/*.json
var delivered embed.FS

// english has every message; others fall back to it.
const english = "en"

// Bounds of a file of messages.
const (
	// MaxMessagesFile is the size of one, in octets.
	MaxMessagesFile = 1 << 20
	maxMessage      = 2000
	maxLanguages    = 64
)

// Messages are the page's texts by language (a tag of BCP 47), then by key.
type Messages map[string]map[string]string

// Delivered returns the messages that are built in: complete in English, German and
// Spanish.
func Delivered() Messages {
	all := Messages{}
	for _, l := range []string{english, "de", "es"} {
		raw, err := delivered.ReadFile("messages/" + l + ".json")
		if err != nil {
			panic(err) // it is built in
		}
		var one map[string]string
		if err := json.Unmarshal(raw, &one); err != nil {
			panic(fmt.Sprintf("messages/%s.json: %v", l, err)) // as above
		}
		all[l] = one
	}
	return all
}

// placePattern is a name in braces in a message, for what is filled in.
var placePattern = regexp.MustCompile(`\{[^{}]*\}`)

// With returns m with the messages of a file laid over: JSON, by language, then by key,
// {"fr": {"title": "…"}}. Errors name language and key.
func (m Messages) With(file []byte) (Messages, error) {
	if len(file) > MaxMessagesFile {
		return nil, fmt.Errorf("it has %d octets: expected at most %d", len(file), MaxMessagesFile)
	}
	var more Messages
	d := json.NewDecoder(bytes.NewReader(file))
	if err := d.Decode(&more); err != nil {
		return nil, fmt.Errorf("reading it as JSON: %w: expected languages with messages, such as {\"fr\": {\"title\": \"…\"}}", err)
	}
	if d.More() {
		return nil, errors.New("reading it as JSON: something follows the object: expected one object")
	}
	if len(more) > maxLanguages {
		return nil, fmt.Errorf("it has %d languages: expected at most %d", len(more), maxLanguages)
	}
	all := Messages{}
	for l, texts := range m {
		all[l] = texts
	}
	for _, l := range slices.Sorted(maps.Keys(more)) {
		tag, err := Language(l)
		if err != nil {
			return nil, err
		}
		texts := maps.Clone(all[tag])
		if texts == nil {
			texts = map[string]string{}
		}
		for _, key := range slices.Sorted(maps.Keys(more[l])) {
			if err := m.check(key, more[l][key]); err != nil {
				return nil, fmt.Errorf("%s: %w", tag, err)
			}
			texts[key] = more[l][key]
		}
		all[tag] = texts
	}
	return all, nil
}

// check says what is wrong with a message that is to stand for the English one.
func (m Messages) check(key, text string) error {
	known, ok := m[english][key]
	switch {
	case !ok:
		return fmt.Errorf("there is no message %.60q: expected the keys of messages/en.json", key)
	case strings.TrimSpace(text) == "" || !utf8.ValidString(text):
		return fmt.Errorf("%s is empty or not UTF-8: expected a text, or no such key, and English stands there", key)
	case len(text) > maxMessage:
		return fmt.Errorf("%s has %d octets: expected at most %d", key, len(text), maxMessage)
	}
	for _, place := range placePattern.FindAllString(text, -1) {
		if !strings.Contains(known, place) {
			return fmt.Errorf("%s has the place %.60q, which the English text %q has not", key, place, known)
		}
	}
	return nil
}

// Language returns a language's tag as it is kept. The error names value and mend.
func Language(text string) (string, error) {
	tag, err := language.Parse(text)
	if err != nil || len(text) > maxLangQuery || tag == language.Und {
		return "", fmt.Errorf("language %.60q: expected a tag such as en, de or pt-BR", text)
	}
	return tag.String(), nil
}

// languages returns the languages that are offered: those that are asked for, or, where
// none are, English and all others.
func (m Messages) languages(asked []string) ([]string, error) {
	if len(asked) == 0 {
		all := slices.Sorted(maps.Keys(m))
		return append([]string{english}, slices.DeleteFunc(all, func(l string) bool { return l == english })...), nil
	}
	var out []string
	for _, text := range asked {
		l, err := Language(text)
		if err != nil {
			return nil, err
		}
		if _, ok := m[l]; !ok {
			return nil, fmt.Errorf("language %.60q: expected one that has messages (%s): give them by `messages FILE`, or leave it out",
				text, strings.Join(slices.Sorted(maps.Keys(m)), ", "))
		}
		if slices.Contains(out, l) {
			return nil, fmt.Errorf("language %.60q stands twice: take one out", text)
		}
		out = append(out, l)
	}
	return out, nil
}
