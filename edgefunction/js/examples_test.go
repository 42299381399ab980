package js

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http/httptest"
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/edgefunction"
)

func TestTheExampleThatGreets(t *testing.T) {
	f := compileFile(t, "../../examples/functions/hello.ts", nil)
	w, err := f.ask("GET", "http://a.example/?name=ann", "")
	if want := `{"hello":"ann","method":"GET","at":"a.example"}`; err != nil || w.Body.String() != want || w.Header().Get("Content-Type") != "application/json" {
		t.Error(err, w.Body, w.Header())
	}
}

func TestTheExampleThatChecksTokens(t *testing.T) {
	mac := hmac.New(sha256.New, []byte("s3cret"))
	mac.Write([]byte("ann"))
	valid := "ann." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	f := compileFile(t, "../../examples/functions/auth.js", func(s *edgefunction.Settings) { s.Env = map[string]string{"SECRET": "s3cret"} })
	for _, test := range []struct {
		token, want string
		status      int
	}{
		{"", "A token is needed.\n", 401},
		{"Bearer bob" + valid[3:], "The token is not valid.\n", 401},
		{"Bearer ***", "The token is not valid.\n", 401},
		{"Bearer .", "The token is not valid.\n", 401},
		{"Bearer " + valid, "next: GET a.example/x ann ", 200},
	} {
		r := httptest.NewRequest("GET", "http://a.example/x", nil)
		r.Header.Set("X-User", "forged")
		if test.token != "" {
			r.Header.Set("Authorization", test.token)
		}
		w := httptest.NewRecorder()
		if err := f.Serve(w, r, next{}); err != nil || w.Code != test.status || w.Body.String() != test.want {
			t.Errorf("%q: %v %d %s", test.token, err, w.Code, w.Body)
		}
	}
}
