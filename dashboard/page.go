package dashboard

import (
	"embed"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/webui"
)

//go:embed templates
var files embed.FS

// schemeless is an https URL as people write it: no page holds a URL of another origin.
func schemeless(url string) string { return strings.TrimPrefix(url, "https://") }

// pages are the templates by their names, each with the frame that all have.
var pages = func() map[string]*template.Template {
	frame := template.Must(template.New("frame.html").Funcs(webui.Funcs).Funcs(template.FuncMap{
		"number": number, "tone": tone, "counted": counted, "schemeless": schemeless,
	}).ParseFS(files, "templates/frame.html"))
	all := map[string]*template.Template{}
	for _, name := range []string{"overview", "list", "record", "confirm", "error"} {
		all[name] = template.Must(template.Must(frame.Clone()).ParseFS(files, "templates/"+name+".html"))
	}
	return all
}()

// frame is what every page has, and Body what it has of its own.
type frame struct {
	Title string
	// Root is the way from the page to the overview, for links: "./" or "../" as often as
	// the page lies deeper.
	Root                string
	Here                string // the page's place in the navigation: overview, records or neither
	Live                string // what says when the page has changed; empty: nothing does
	Writes              bool
	Style, Script, Icon string
	Now                 time.Time
	Body                any
}

// send answers with a page.
func (d *Dashboard) send(w http.ResponseWriter, r *http.Request, status int, name string, f frame) {
	f.Root = root(r.URL.EscapedPath())
	f.Style, f.Script, f.Icon = webui.Style, webui.Script, webui.Icon
	f.Writes, f.Now = d.AllowWrites, time.Now()
	if err := webui.Send(w, r, status, pages[name], "frame.html", f); err != nil {
		d.Logger.Error("a page of the dashboard could not be made", zap.String("page", name), zap.Error(err))
		http.Error(w, "The page could not be made. The log says why.", http.StatusInternalServerError)
	}
}

// asset serves what pages load.
func asset(w http.ResponseWriter, r *http.Request, name string) {
	if name != "icon.svg" {
		webui.Assets().ServeHTTP(w, r)
		return
	}
	w.Header().Set("Cache-Control", "public, max-age=86400")
	http.ServeFileFS(w, r, files, "templates/icon.svg")
}

// root is the way from a path to the place where the dashboard is mounted.
func root(path string) string {
	if depth := strings.Count(strings.TrimPrefix(path, "/"), "/"); depth > 0 {
		return strings.Repeat("../", depth)
	}
	return "./"
}

// problem is why a page cannot be shown.
type problem struct {
	Status int
	Text   string
}

// fail answers that something is wrong.
func (d *Dashboard) fail(w http.ResponseWriter, r *http.Request, p problem) {
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "2")
	}
	d.send(w, r, p.Status, "error", frame{Title: http.StatusText(p.Status), Body: p})
}

// number is a count with its thousands apart.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// counted is a number of things.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(n) + " " + many
}

// tone is the colour of a word that says the same: good, wait, bad or none.
func tone(word string) string {
	switch word {
	case "True", "Active", "ok", "live", "in place", "nobody":
		return "good"
	case "Pending", "Issuing", "Unknown", "note", "customer", "CA", "not seen":
		return "wait"
	case "False", "Detached", "wrong", "gone", "operator", "held":
		return "bad"
	}
	return ""
}

// cut is a text of at most some characters.
func cut(s string, most int) string {
	n := 0
	for i := range s {
		if n++; n > most {
			return s[:i] + "…"
		}
	}
	return s
}
