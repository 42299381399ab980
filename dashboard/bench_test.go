package dashboard

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

// BenchmarkPages is what a look at each page costs the server: a live page is looked at
// every two seconds at most, a record's every second.
func BenchmarkPages(b *testing.B) {
	w := newWorld(b)
	for i := range perPage {
		w.create(fmt.Sprintf("n%02d.example.com", i), waiting)
	}
	for name, path := range map[string]string{"overview": "/", "list": "/records", "record": "/records/n01.example.com"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				answer := httptest.NewRecorder()
				r := httptest.NewRequest(http.MethodGet, path, nil)
				r.Header.Set("Accept-Encoding", "gzip")
				if w.d.ServeHTTP(answer, r); answer.Code != http.StatusOK {
					b.Fatal(answer.Code)
				}
			}
		})
	}
}
