package js

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
)

// TestWebAPIs runs the tests in testdata/api, which are functions themselves.
func TestWebAPIs(t *testing.T) {
	files, err := filepath.Glob("testdata/api/*.js")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, file := range files {
		if filepath.Base(file) == "assert.js" {
			continue
		}
		f := compileFile(t, file, nil)
		w, err := f.ask(http.MethodGet, "http://a.example/", "")
		var names []string
		if err != nil || json.Unmarshal(w.Body.Bytes(), &names) != nil {
			t.Fatal(file, err, w.Body)
		}
		for _, name := range names {
			ran++
			t.Run(filepath.Base(file)+" "+name, func(t *testing.T) {
				w, err := f.ask(http.MethodGet, "http://a.example/?"+url.PathEscape(name), "")
				if err != nil || w.Body.String() != "ok" {
					t.Error(err, w.Body)
				}
			})
		}
	}
	if ran < 20 {
		t.Errorf("%d tests ran: those in testdata/api were not found", ran)
	}
}
