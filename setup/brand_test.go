package setup

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The palettes are those of the style sheet that all pages share.
func TestPalettesAreThoseOfTheStyleSheet(t *testing.T) {
	raw, err := os.ReadFile("../internal/webui/style.css")
	if err != nil {
		t.Fatal(err)
	}
	roots := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(string(raw), 2)
	if len(roots) != 2 {
		t.Fatalf("%d palettes are in style.css", len(roots))
	}
	for i, p := range []palette{light, dark} {
		for name, c := range map[string]colour{
			"ground": p.ground, "raised": p.raised, "line": p.line, "text": p.text, "quiet": p.quiet, "accent": p.accent,
			"good": p.words[0], "good-ground": p.callouts[0], "wait": p.words[1], "wait-ground": p.callouts[1],
			"bad": p.words[2], "bad-ground": p.callouts[2], "none-ground": p.none,
		} {
			if !strings.Contains(roots[i][1], "--"+name+": "+c.String()+";") {
				t.Errorf("palette %d: --%s is not %s", i, name, c)
			}
		}
	}
}

func TestContrast(t *testing.T) {
	if got := contrast(black, white); got < 20.9 || got > 21.1 {
		t.Errorf("black on white has %.2f", got)
	}
	if got := contrast(must("#767676"), white); got < 4.5 || got > 4.6 { // WCAG's own example
		t.Errorf("#767676 on white has %.2f", got)
	}
}

// Whatever the accent, buttons, links and quiet words can be read.
func TestEveryAccentCanBeRead(t *testing.T) {
	for _, accent := range []string{"#ffff00", "#000000", "#ffffff", "#ff0000", "#00ff00", "#0000ff", "#808080", "#1f5fae", "#fbfbfa"} {
		for _, colours := range []Colours{
			{ColourAccent: accent},
			{ColourAccent: accent, ColourDarkAccent: accent},
			{ColourAccent: accent, ColourBackground: "#101010", ColourText: "#f0f0f0"},
			{ColourAccent: accent, ColourBackground: "#ffffff", ColourText: "#000000"},
		} {
			if err := colours.Check(); err != nil {
				t.Fatal(err)
			}
			for _, inDark := range []bool{false, true} {
				p := colours.palette(inDark)
				css := p.css(":root")
				get := func(name string) colour {
					m := regexp.MustCompile(`--` + name + `: (#[0-9a-f]{6});`).FindStringSubmatch(css)
					if m == nil {
						t.Fatalf("no --%s in %s", name, css)
					}
					return must(m[1])
				}
				if got := contrast(get("accent"), get("accent-text")); got < textContrast {
					t.Errorf("%v: a button's text has a contrast of %.2f", colours, got)
				}
				for _, ground := range []string{"ground", "raised"} {
					for _, text := range []string{"text", "quiet", "link"} {
						if got := contrast(get(text), get(ground)); got < textContrast {
							t.Errorf("%v: %s on %s has a contrast of %.2f", colours, text, ground, got)
						}
					}
				}
			}
		}
	}
}

func TestColoursAreChecked(t *testing.T) {
	for _, c := range []struct {
		colours Colours
		want    string
	}{
		{Colours{"akzent": "#000000"}, `there is no colour "akzent": expected accent, background`},
		{Colours{ColourAccent: "red"}, `accent "red": expected six hexadecimal digits, such as #1f5fae`},
		{Colours{ColourAccent: "#12345"}, "expected six"},
		{Colours{ColourAccent: "#12345g"}, "expected six"},
		{Colours{ColourAccent: "#000000}body{display:none"}, "expected six"},
		{Colours{ColourText: "#cccccc"}, "text #cccccc is hard to read on"},
		{Colours{ColourDarkText: "#202020"}, "in dark surroundings"},
	} {
		if err := c.colours.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.colours, err, c.want)
		}
	}
	if err := (Colours)(nil).Check(); err != nil {
		t.Errorf("the product's own: %v", err)
	}
}
