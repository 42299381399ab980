package webui

import (
	"html/template"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestPagesHoldNoCharactersThatDeceive(t *testing.T) {
	for in, want := range map[string]string{
		"plain.example.com\n\t<b>":   "plain.example.com\n\t&lt;b&gt;",
		"a\u202ecom.elpmaxe":         "a\ufffdcom.elpmaxe",
		"a\u2066b\u2069\u200f":       "a\ufffdb\ufffd\ufffd",
		"a\x1b[31m\x00\u009b":        "a\ufffd[31m\ufffd\ufffd",
		"zero\u200bwidth\ufeff":      "zero\ufffdwidth\ufffd",
		"m\u00fcnchen \u05d0 \u200d": "m\u00fcnchen \u05d0 \u200d",
		"tag\U000e0041":              "tag\ufffd",
	} {
		w := httptest.NewRecorder()
		if err := Send(w, httptest.NewRequest(http.MethodGet, "/", nil), http.StatusOK, template.Must(template.New("p").Parse("{{.}}")), "p", in); err != nil {
			t.Fatal(err)
		}
		if got := w.Body.String(); got != want {
			t.Errorf("%+q is shown as %+q, want %+q", in, got, want)
		}
	}
}
