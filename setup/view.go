package setup

import (
	"embed"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/idna"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/internal/webui"
)

//go:embed page.html
var pageFile embed.FS

// pages are the templates "page" and "refusal".
var pages = template.Must(template.New("").Funcs(webui.Funcs).ParseFS(pageFile, "page.html"))

// frame is what all pages of a site have.
type frame struct {
	*words
	// Title stands on top, and Logo beside it: a URL, empty for none.
	Title, Logo string
	// Base is the path of the site, with a final slash, and Brand the name of its style
	// sheet.
	Base, Brand, Style, Script, Icon string
	// Support is what a link for questions leads to, SupportText what it says, and
	// SupportSite that it is a page.
	Support     template.URL
	SupportText string
	SupportSite bool
	Languages   []languageLink
}

// languageLink leads to the same page in another language.
type languageLink struct {
	Tag, Name, Href string
	Current         bool
}

// refusal is a page that shows no record.
type refusal struct {
	frame
	Kind string
}

// view is the page of one record.
type view struct {
	frame
	provider  provider
	hostname  string
	addresses []string

	// Shown is the hostname as people write it, and Hostname as DNS does where that is
	// another; else empty.
	Shown, Hostname string
	Until           time.Time
	URL             string // of this page
	Live            string // the URL that tells of changes
	Old             bool   // the store could not confirm it
	Headline        string
	Mood            string // of the headline: good, wait, bad
	Detached        bool
	Done, All       int
	Steps           []stepView
	Place           placeView
	Letter          string
	Mail            template.URL
}

// stepView is a step as it is shown.
type stepView struct {
	*words
	ID      string
	Number  int
	State   string
	Badge   string // good, wait, bad, or none
	Title   template.HTML
	Text    template.HTML
	Message string // a message of the status as it is, in English
	Card    *card
	Open    bool // its card is shown at once
	Proxy   template.HTML
	Current bool
}

// placeView says where the records are created.
type placeView struct {
	Known, Button template.HTML
	Panel         string
	Name          string
	Connect       template.URL
	ConnectText   template.HTML
}

// subject is a record as a page is made of it.
type subject struct {
	record    *v1alpha3.DomainRecord
	addresses []string
	until     time.Time
	url, live string
	old       bool
}

// viewOf makes the page of a record.
func viewOf(f frame, s subject) *view {
	v := &view{
		frame: f, provider: providerOf(s.record), addresses: s.addresses,
		hostname: clean(s.record.Spec.Name), Until: s.until, URL: s.url, Live: s.live, Old: s.old,
	}
	v.Shown = v.hostname
	if u, err := idna.Display.ToUnicode(v.hostname); err == nil && clean(u) != v.hostname {
		v.Shown, v.Hostname = clean(u), v.hostname
	}
	p := planOf(s.record)
	next := p.next()
	v.Headline = v.Plain("headline."+p.headline, "step", strconv.Itoa(next+1))
	v.Mood, v.Detached = mood(p.headline), p.detached
	v.Done, v.All = p.done()
	for i, st := range p.steps {
		v.Steps = append(v.Steps, v.stepOf(i, st, i == next, s.record))
	}
	if len(openSteps(p)) > 0 {
		v.Place = v.placeOf(p, connectURL(s.record))
	}
	v.Letter = v.letter(p)
	v.Mail = template.URL(mailto(v.Plain("letter.subject", "hostname", v.hostname), v.Letter))
	return v
}

func (v *view) stepOf(i int, s step, current bool, r *v1alpha3.DomainRecord) stepView {
	out := stepView{
		words: v.words, ID: s.id, Number: i + 1, State: string(s.state), Badge: badge(s.state), Current: current,
		Title: v.Say("step." + s.id + ".title"),
		Open:  s.state == stateTodo || s.state == stateTrouble,
	}
	if s.state == stateDone && s.id != stepCertificate && s.id != stepSwitch {
		out.Text = ""
	} else {
		out.Text = v.Say("step." + s.id + "." + s.text)
	}
	if s.text == "caa" { // the record that is to be added stands in no other place
		if c := r.Status.Condition(v1alpha3.ConditionTLSReady); c != nil {
			out.Message = cleanLong(c.Message)
		}
	}
	if s.record != nil {
		out.Card = v.cardOf(s)
		out.Open = out.Open || s.state == stateDone && out.Card.Problem != ""
		if s.state != stateDone {
			out.Proxy = v.ProxyHint()
		}
	}
	return out
}

func (v *view) placeOf(p plan, connect string) placeView {
	open := openSteps(p)
	zone, _ := place(*open[0].record)
	if zone == "" {
		zone = v.hostname
	}
	out := placeView{Name: v.provider.name, Panel: v.provider.panel, Connect: template.URL(connect)}
	if out.Name == "" {
		out.Known = v.Say("provider.unknown", "zone", zone)
		out.ConnectText = v.Say("connect.anyText")
		return out
	}
	out.Known = v.Say("provider.known", "zone", zone, "provider", out.Name)
	out.Button = v.Say("provider.button", "button", v.provider.AddButton)
	out.ConnectText = v.Say("connect.text", "provider", out.Name)
	return out
}

// HasProgress reports whether counting the steps says anything.
func (v *view) HasProgress() bool { return v.All > 0 }

// Progress counts the steps.
func (v *view) Progress() string {
	return v.Plain("progress", "done", strconv.Itoa(v.Done), "all", strconv.Itoa(v.All))
}

func mood(headline string) string {
	switch headline {
	case headDone, headSwitch, headVerified:
		return "good"
	case headCAA:
		return "bad"
	}
	return "wait"
}

func badge(s state) string {
	switch s {
	case stateDone:
		return "good"
	case stateTodo, stateWait:
		return "wait"
	case stateTrouble:
		return "bad"
	}
	return "none"
}

// cleanLong is clean for a whole message.
func cleanLong(s string) string {
	var b strings.Builder
	for len(s) > maxShown && b.Len() < maxMessage {
		cut := strings.LastIndexByte(s[:maxShown], ' ')
		if cut <= 0 {
			break
		}
		b.WriteString(clean(s[:cut+1]))
		s = s[cut+1:]
	}
	return b.String() + clean(s)
}

// withLang is a page's own path with another language.
func withLang(path, tag string) string {
	return (&url.URL{Path: path, RawQuery: url.Values{"lang": {tag}}.Encode()}).String()
}
