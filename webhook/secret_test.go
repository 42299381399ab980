package webhook

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// The example of the specification's own libraries.
func TestSignIsThatOfTheSpecification(t *testing.T) {
	s, err := ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := Sign([]Secret{s}, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("the signature is %s, want %s", got, want)
	}
}

func TestSecretsAreReadAndNeverShown(t *testing.T) {
	for _, c := range []struct {
		text       string
		signatures int // 0: refused
		weak       bool
	}{
		{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 1, false},
		{"whsec_" + strings.Repeat("QUFB", 10) + "QQ==", 1, false},
		{"whsec_aHVudGVy", 1, true},
		{"a secret of no particular kind", 1, false},
		{"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 2, false}, // its bytes, and what it decodes to
		{"hunter2!", 1, true},
		{"", 0, false},
		{"whsec_", 0, false},
		{"whsec_not*base64", 0, false},
		{"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==", 0, false},
		{strings.Repeat("x", MaxSecret+1), 0, false},
	} {
		s, err := ParseSecret(c.text)
		if c.signatures == 0 {
			if err == nil || len(c.text) > len(secretPrefix) && strings.Contains(err.Error(), c.text[5:]) || !strings.Contains(err.Error(), "openssl") {
				t.Errorf("%q: the error is %v, want one with a mend and without the secret", c.text, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if n := len(strings.Fields(Sign([]Secret{s}, "msg_1", time.Unix(1, 0), nil))); n != c.signatures || s.Weak() != c.weak {
			t.Errorf("%q gives %d signatures, weak %v; want %d, %v", c.text, n, s.Weak(), c.signatures, c.weak)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s", s, s, s, Endpoint{Secrets: []Secret{s}}); strings.Contains(shown, "MfKQ") || strings.Contains(shown, string(s.keys[0])) {
			t.Errorf("%q is shown as %s", c.text, shown)
		}
	}
}

func TestURLs(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://app.example.net/hooks": true, "http://127.0.0.1:8080/?token=s3cret": true, "https://[2001:db8::1]/": true,
		"": false, "app.example.net": false, "ftp://app.example.net/?token=s3cret": false, "https:///hooks": false,
		"https://me:s3cret@app.example.net/": false, "https://app.example.net/#x": false, "https://" + strings.Repeat("a", maxURL): false,
	} {
		if err := ParseURL(text); (err == nil) != ok || err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%.60q: %v, want ok %v and no secret", text, err, ok)
		}
	}
}
