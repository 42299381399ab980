package setup

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Names of the colours that a page takes, in light and in dark surroundings.
const (
	ColourAccent         = "accent"
	ColourBackground     = "background"
	ColourText           = "text"
	ColourDarkAccent     = "dark_accent"
	ColourDarkBackground = "dark_background"
	ColourDarkText       = "dark_text"
)

// colourNames are those there are, in the order in which errors name them.
var colourNames = []string{ColourAccent, ColourBackground, ColourText, ColourDarkAccent, ColourDarkBackground, ColourDarkText}

// Contrast that is needed of text and of controls (WCAG 2.2, 1.4.3 and 1.4.11).
const (
	textContrast    = 4.5
	controlContrast = 3
)

// colour is one of sRGB.
type colour struct{ r, g, b uint8 }

func parseColour(s string) (colour, error) {
	if len(s) == 7 && s[0] == '#' {
		if n, err := strconv.ParseUint(s[1:], 16, 32); err == nil {
			return colour{uint8(n >> 16), uint8(n >> 8), uint8(n)}, nil
		}
	}
	return colour{}, fmt.Errorf("%.40q: expected six hexadecimal digits, such as #1f5fae", s)
}

func must(s string) colour {
	c, err := parseColour(s)
	if err != nil {
		panic(err) // they are built in
	}
	return c
}

func (c colour) String() string { return fmt.Sprintf("#%02x%02x%02x", c.r, c.g, c.b) }

// luminance is the relative one of WCAG 2.2.
func (c colour) luminance() float64 {
	linear := func(v uint8) float64 {
		x := float64(v) / 255
		if x <= 0.04045 {
			return x / 12.92
		}
		return math.Pow((x+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c.r) + 0.7152*linear(c.g) + 0.0722*linear(c.b)
}

// contrast is the ratio of WCAG 2.2, 1 to 21.
func contrast(a, b colour) float64 {
	x, y := a.luminance(), b.luminance()
	return (max(x, y) + 0.05) / (min(x, y) + 0.05)
}

// mix is a part of b in a.
func mix(a, b colour, part float64) colour {
	of := func(x, y uint8) uint8 { return uint8(math.Round(float64(x) + part*(float64(y)-float64(x)))) }
	return colour{of(a.r, b.r), of(a.g, b.g), of(a.b, b.b)}
}

var black, white = colour{}, colour{255, 255, 255}

// readable is black or white, whichever is better read on c. One of them always has
// the contrast that text needs.
func readable(c colour) colour {
	if contrast(c, white) >= contrast(c, black) {
		return white
	}
	return black
}

// against brings c towards black or white until it has a contrast with all grounds.
func against(c colour, need float64, grounds ...colour) colour {
	least := func(c colour) float64 {
		low := math.Inf(1)
		for _, g := range grounds {
			low = min(low, contrast(c, g))
		}
		return low
	}
	to := readable(grounds[0])
	for step := 0; step <= 20; step++ {
		if m := mix(c, to, float64(step)/20); least(m) >= need {
			return m
		}
	}
	return to
}

// palette is what the style sheet of all pages has for one kind of surroundings.
type palette struct {
	ground, raised, line, text, quiet, accent colour
	callouts                                  [3]colour // good, wait, bad: grounds that text stands on
	words                                     [3]colour // their words, on those grounds
	none                                      colour    // the ground of a badge without a state
}

// The palettes are those of internal/webui, which a test holds.
var (
	light = palette{
		must("#fbfbfa"), must("#ffffff"), must("#d9d9d4"), must("#1c1d1f"), must("#5b5f66"), must("#1f5fae"),
		[3]colour{must("#e3f3e8"), must("#fbefd5"), must("#fbe5e3")}, [3]colour{must("#1b6b3a"), must("#7a5200"), must("#a3201b")}, must("#eceef0"),
	}
	dark = palette{
		must("#15171a"), must("#1d2024"), must("#363b42"), must("#e7e8ea"), must("#a5abb4"), must("#7fb2f0"),
		[3]colour{must("#173323"), must("#3a2d11"), must("#421d1b")}, [3]colour{must("#7fd6a0"), must("#f0c877"), must("#f5a09a")}, must("#2a2e34"),
	}
)

// Colours are an operator's, by their names; those that are missing are the product's.
type Colours map[string]string

// Check says what is wrong with one of them, or with two of them together.
func (c Colours) Check() error {
	for _, name := range slices.Sorted(maps.Keys(c)) {
		if !slices.Contains(colourNames, name) {
			return fmt.Errorf("there is no colour %.40q: expected %s", name, strings.Join(colourNames, ", "))
		}
		if _, err := parseColour(c[name]); err != nil {
			return fmt.Errorf("%s %w", name, err)
		}
	}
	for _, s := range []struct{ of, background, text string }{
		{"light", ColourBackground, ColourText}, {"dark", ColourDarkBackground, ColourDarkText},
	} {
		p := c.palette(s.of == "dark")
		for _, ground := range append([]colour{p.ground, p.raised}, p.callouts[:]...) {
			if got := contrast(p.text, ground); got < textContrast {
				return fmt.Errorf("%s %s is hard to read on %s in %s surroundings, with a contrast of %.1f: expected %.1f at least; change %s or %s",
					s.text, p.text, ground, s.of, got, textContrast, s.text, s.background)
			}
		}
	}
	return nil
}

// palette is the one for light or dark surroundings, checked colours laid over.
func (c Colours) palette(inDark bool) palette {
	base, names := light, colourNames[:3]
	if inDark {
		base, names = dark, colourNames[3:]
	}
	get := func(name string) (colour, bool) {
		v, err := parseColour(c[name])
		return v, err == nil
	}
	if ground, ok := get(names[1]); ok {
		accent := base.accent
		if base = light; ground.luminance() < 0.18 { // white is better read on it than black
			base = dark
		}
		base.accent, base.ground = accent, ground
		base.raised = mix(ground, white, map[bool]float64{true: 0.04, false: 0.6}[ground.luminance() < 0.18])
	}
	if text, ok := get(names[2]); ok {
		base.text = text
	}
	if c[names[1]] != "" || c[names[2]] != "" {
		base.line = mix(base.ground, base.text, 0.18)
		base.quiet = against(mix(base.text, base.ground, 0.3), textContrast, base.ground, base.raised)
	}
	accent, ok := get(names[0])
	if !ok && inDark {
		accent, ok = get(ColourAccent)
		accent = against(accent, controlContrast, base.ground, base.raised)
	}
	if ok {
		base.accent = accent
	}
	return base
}

// css is the style sheet that stands after the product's own.
func (c Colours) css() string {
	var b strings.Builder
	b.WriteString(c.palette(false).css(":root"))
	b.WriteString("@media (prefers-color-scheme: dark) {\n" + c.palette(true).css(":root") + "}\n")
	return b.String()
}

func (p palette) css(selector string) string {
	var b strings.Builder
	set := func(name string, c colour) { fmt.Fprintf(&b, " --%s: %s;", name, c) }
	set("ground", p.ground)
	set("raised", p.raised)
	set("line", p.line)
	set("text", p.text)
	set("quiet", p.quiet)
	set("accent", p.accent)
	set("accent-text", readable(p.accent))
	set("link", against(p.accent, textContrast, append([]colour{p.ground, p.raised}, p.callouts[:]...)...))
	for i, name := range []string{"good", "wait", "bad"} {
		set(name, p.words[i])
		set(name+"-ground", p.callouts[i])
	}
	set("none-ground", p.none)
	scheme := "light"
	if p.ground.luminance() < 0.18 {
		scheme = "dark"
	}
	return selector + " { color-scheme: " + scheme + ";" + b.String() + " }\n"
}
