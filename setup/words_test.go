package setup

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every key is there in every language that is delivered, with the same places.
func TestEveryMessageIsThereInEveryLanguage(t *testing.T) {
	all := Delivered()
	keys := slices.Sorted(maps.Keys(all[english]))
	for _, l := range []string{"de", "es"} {
		if got := slices.Sorted(maps.Keys(all[l])); !slices.Equal(got, keys) {
			t.Errorf("%s has other keys than English", l)
		}
		for key, text := range all[l] {
			want := placePattern.FindAllString(all[english][key], -1)
			got := placePattern.FindAllString(text, -1)
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s has the places %v, English %v", l, key, got, want)
			}
		}
		if _, err := all.With([]byte(`{}`)); err != nil {
			t.Error(err)
		}
	}
	for _, l := range []string{"en", "de", "es"} {
		for key, text := range all[l] {
			if err := all.check(key, text); err != nil {
				t.Errorf("%s: %v", l, err)
			}
		}
	}
}

// Every reason of a problem has its words.
func TestEveryProblemHasWords(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../ownership/problems.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	messages, found := Delivered(), 0
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && strings.HasPrefix(spec.Names[0].Name, "Problem") {
			found++
			key := "problem." + strings.Trim(lit.Value, `"`)
			for _, l := range []string{"en", "de", "es"} {
				if messages[l][key] == "" {
					t.Errorf("%s has no words for %s", l, key)
				}
			}
		}
		return true
	})
	if found < 30 {
		t.Errorf("only %d reasons were found", found)
	}
}

// Every message that the page and the code name exists, and each that exists is used.
func TestMessagesAreUsed(t *testing.T) {
	messages, used := Delivered()[english], map[string]bool{}
	for _, state := range []state{stateDone, stateTodo, stateWait, stateLater, stateOptional, stateTrouble} {
		used["state."+string(state)] = true
	}
	for why := range refusals {
		used["error."+why+".title"], used["error."+why+".text"] = true, true
	}
	used["languageName"], used["apex.alias"], used["apex.text"] = true, true, true
	used["error.missing.title"], used["error.missing.text"] = true, true
	for _, name := range []string{"page.html", "card.go", "letter.go", "view.go", "serve.go"} {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:Plain\(|Say\(|label\([a-zA-Z.]+, )"([a-z][a-zA-Z.]*)"|\.Plain "([a-zA-Z.]+)"|\.Say "([a-zA-Z.]+)"`).FindAllStringSubmatch(string(raw), -1) {
			key := m[1] + m[2] + m[3]
			if strings.HasSuffix(key, ".") {
				continue // the beginning of some
			}
			if used[key] = true; messages[key] == "" {
				t.Errorf("%s names the message %q, which does not exist", name, key)
			}
		}
	}
	steps, err := os.ReadFile("facts.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`head[A-Z]\w+ += "(\w+)"`).FindAllStringSubmatch(string(steps), -1) {
		used["headline."+m[1]] = true
	}
	for key := range messages {
		if !used[key] && !strings.HasPrefix(key, "problem.") && !strings.HasPrefix(key, "step.") {
			t.Errorf("nothing uses the message %s", key)
		}
	}
	for key := range used {
		if messages[key] == "" {
			t.Errorf("there is no message %s", key)
		}
	}
}

func TestLanguageOfARequest(t *testing.T) {
	messages, err := Delivered().With([]byte(`{"ar": {"copy": "نسخ"}, "pt-br": {"copy": "Copiar"}}`))
	if err != nil {
		t.Fatal(err)
	}
	languages, err := messages.languages(nil)
	if err != nil {
		t.Fatal(err)
	}
	all := newTongues(languages, messages)
	for _, c := range []struct{ query, header, want, dir string }{
		{"", "", "en", "ltr"},
		{"", "de-CH, de;q=0.9, en;q=0.8", "de", "ltr"},
		{"", "fr, es;q=0.5", "es", "ltr"},
		{"", "fr", "en", "ltr"},
		{"es", "de", "es", "ltr"},
		{"de-AT", "", "de", "ltr"},
		{"xx-nonsense-!!", "de", "de", "ltr"},
		{"fr", "de", "de", "ltr"},
		{"ar", "", "ar", "rtl"},
		{"pt-BR", "", "pt-BR", "ltr"},
		{"", strings.Repeat("de,", 1000), "en", "ltr"},
		{strings.Repeat("d", 10000), "", "en", "ltr"},
		{"", "\x00\xff;;q=", "en", "ltr"},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if c.query != "" {
			q := r.URL.Query()
			q.Set("lang", c.query)
			r.URL.RawQuery = q.Encode()
		}
		if c.header != "" {
			r.Header.Set("Accept-Language", c.header)
		}
		if w := all.of(r); w.Lang != c.want || w.Dir != c.dir {
			t.Errorf("?lang=%.20s with %.30q: %s %s, want %s %s", c.query, c.header, w.Lang, w.Dir, c.want, c.dir)
		}
	}
	// What a language lacks is said in English, and what it replaces in its own words.
	r := httptest.NewRequest("GET", "/?lang=ar", nil)
	if w := all.of(r); w.Plain("copy") != "نسخ" || w.Plain("copied") != "Copied" {
		t.Errorf("Arabic says %q and %q", w.Plain("copy"), w.Plain("copied"))
	}
}

func TestAFileOfMessagesIsChecked(t *testing.T) {
	for file, want := range map[string]string{
		`{"fr": {"titel": "x"}}`:          `fr: there is no message "titel"`,
		`{"fr": {"title": " "}}`:          "fr: title is empty",
		`{"fr": {"title": "{hostname}"}}`: "title has the place",
		`{"not a tag": {}}`:               `language "not a tag": expected a tag such as`,
		`[]`:                              "reading it as JSON",
		`{} {}`:                           "something follows",
		`{"fr": {"title": "` + strings.Repeat("x", maxMessage+1) + `"}}`: "expected at most",
		strings.Repeat(" ", MaxMessagesFile+1):                           "octets: expected at most",
	} {
		if _, err := Delivered().With([]byte(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", file, err, want)
		}
	}
	for asked, want := range map[string]string{"fr": "expected one that has messages (de, en, es)", "en en": "stands twice", "??": "expected a tag"} {
		if _, err := Delivered().languages(strings.Fields(asked)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("languages %s: %v, want %q", asked, err, want)
		}
	}
}

func TestWhatIsFilledInIsHarmless(t *testing.T) {
	w := newTongues([]string{"en"}, Delivered()).all[0]
	got := string(w.Say("problem.NotFound", "name", "<script>alert(1)</script>{value}\u202ecod.\x00\n\t\u200b"))
	if strings.Contains(got, "<script") || strings.ContainsAny(got, "\u202e\u200b\x00\n") || !strings.Contains(got, "{value}") || !strings.Contains(got, `<code dir="ltr">`) {
		t.Errorf("it becomes %q", got)
	}
	if got := w.Plain("problem.NotFound", "name", "a\r\nBcc: x"); strings.ContainsAny(got, "\r\n") {
		t.Errorf("as text it becomes %q", got)
	}
	if got := clean(strings.Repeat("ä", 1000)); len(got) > maxShown+8 || strings.Contains(got, "\uFFFD") {
		t.Errorf("long text becomes %q", got)
	}
}
