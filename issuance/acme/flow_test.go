package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	acmez "github.com/mholt/acmez/v3/acme"

	"github.com/apoxy-dev/caddy-apoxy/internal/acmetest"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

const host = "api.example.com"

// shop is a CA, our side of it, and what flows told.
type shop struct {
	t       *testing.T
	srv     *acmetest.CA
	ca      *CA
	zone    *acmetest.Zone
	key     *ecdsa.PrivateKey
	allowed []bool  // what Allow was asked, by replaces
	placed  []Order // what Placed was told
}

func newShop(t *testing.T) *shop {
	t.Setenv("NO_PROXY", "*")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{t: t, srv: acmetest.New(t), zone: &acmetest.Zone{}, key: key}
	s.srv.Validate = s.zone.Validate
	st := &certmagic.FileStorage{Path: t.TempDir()}
	s.ca = NewCA(Authority{Directory: s.srv.Directory(), Email: "ops@example.net"}, func() certmagic.Storage { return st }, nil)
	return s
}

// flow is one that waits for half a second, and has the key of orders before.
func (s *shop) flow() *Flow {
	return &Flow{
		CA: s.ca, Challenges: s.zone, Hostname: host, Methods: []string{acmez.ChallengeTypeDNS01, acmez.ChallengeTypeHTTP01}, Known: true,
		CSR: func(context.Context) ([]byte, error) {
			return x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: []string{host}}, s.key)
		},
		Alone:    func(_ context.Context, do func() (bool, error)) error { _, err := do(); return err },
		Allow:    func(_ context.Context, replaces bool) error { s.allowed = append(s.allowed, replaces); return nil },
		Placed:   func(_ context.Context, ref Order) { s.placed = append(s.placed, ref) },
		Began:    func(string) {},
		Patience: 500 * time.Millisecond, Now: time.Now,
	}
}

// obtained checks that a flow came to a certificate for our key, and cleaned up.
func (s *shop) obtained(res Result, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	leaf, err := certfiles.LeafOf(res.Chain.ChainPEM)
	if err != nil || !s.key.PublicKey.Equal(leaf.PublicKey) || leaf.VerifyHostname(host) != nil {
		s.t.Errorf("the certificate is for another key or name: %v", err)
	}
	if n := s.zone.Len(host); n != 0 {
		s.t.Errorf("%d values are left in the zone", n)
	}
}

func TestAFlowProvesControlByDNS(t *testing.T) {
	s := newShop(t)
	res, err := s.flow().Run(t.Context())
	s.obtained(res, err)
	if res.Method != acmez.ChallengeTypeDNS01 {
		t.Errorf("by %q", res.Method)
	}
	if len(s.placed) != 1 || s.placed[0].CA != s.ca.Key || s.placed[0].Account != s.ca.Location() || s.placed[0].URL == "" {
		t.Errorf("placed: %+v", s.placed)
	}
	if !slices.Equal(s.allowed, []bool{false}) {
		t.Errorf("asked to allow %v", s.allowed)
	}
}

func TestAFailedValidationIsTheCustomersAndLeavesNothingBehind(t *testing.T) {
	s := newShop(t)
	f := s.flow()
	f.Methods = []string{acmez.ChallengeTypeHTTP01} // which the CA finds unanswered
	_, err := f.Run(t.Context())
	if got := Classify(err, host); got.Class != ClassCustomer || !strings.Contains(got.Message, "no answer to http-01") {
		t.Errorf("%s: %v", got.Class, err)
	}
	if key := s.ca.Site(host).ChallengeKey(); s.ca.Storage().Exists(t.Context(), key) {
		t.Errorf("%s is left in storage", key)
	}
}

func TestAnEarlierOrderIsResumed(t *testing.T) {
	s := newShop(t)
	end := s.srv.Slowly("signing", "", "")
	_, err := s.flow().Run(t.Context())
	if got := Classify(err, host); got.Class != ClassWorking || got.Working.Method != "" {
		t.Fatalf("while it signs: %v", err)
	}
	end()
	f := s.flow()
	f.Resume = &s.placed[0]
	res, err := f.Run(t.Context())
	s.obtained(res, err)
	if s.srv.Placed() != 1 || res.Method != acmez.ChallengeTypeDNS01 {
		t.Errorf("%d orders, proven by %q", s.srv.Placed(), res.Method)
	}
}

// An order that was signed for a lost key, one at another CA and one that the CA does
// not know are not gone on with.
func TestAnEarlierOrderOfNoUseIsPlacedAnew(t *testing.T) {
	for name, spoil := range map[string]func(f *Flow){
		"its key is lost":     func(f *Flow) { f.Known = false },
		"it is at another CA": func(f *Flow) { f.Resume.CA = "another" },
		"it is not known":     func(f *Flow) { f.Resume.URL += "0" },
	} {
		t.Run(name, func(t *testing.T) {
			s := newShop(t)
			_, err := s.flow().Run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			f, ref := s.flow(), s.placed[0]
			f.Resume = &ref
			spoil(f)
			res, err := f.Run(t.Context())
			s.obtained(res, err)
			if s.srv.Placed() != 2 {
				t.Errorf("%d orders", s.srv.Placed())
			}
		})
	}
}

func TestAnOrderWhoseReplacesIsRefusedIsPlacedWithout(t *testing.T) {
	s := newShop(t)
	s.srv.Replaces = &acmez.Problem{Type: acmez.ProblemTypeAlreadyReplaced, Status: 409}
	f := s.flow()
	f.Replaces = "aki.serial"
	res, err := f.Run(t.Context())
	s.obtained(res, err)
	if o := s.srv.Order(0); o.Replaces != "" || !slices.Equal(s.allowed, []bool{true, false}) {
		t.Errorf("the order replaces %q; asked to allow %v", o.Replaces, s.allowed)
	}
}

func TestAnAccountThatTheCADoesNotKnowIsRegisteredAnew(t *testing.T) {
	s := newShop(t)
	if _, err := s.ca.Account(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := s.ca.Location()
	s.srv.Mu.Lock()
	clear(s.srv.Accounts)
	s.srv.Mu.Unlock()
	res, err := s.flow().Run(t.Context())
	s.obtained(res, err)
	if s.ca.Location() == first {
		t.Error("the account is the same")
	}
}

// An order that was left to the CA is not replaced by another one behind the caller's
// back: nothing was checked for that.
func TestAnOrderOfAGoneAccountIsSpent(t *testing.T) {
	s := newShop(t)
	s.srv.Slowly("validating", "", "")
	_, err := s.flow().Run(t.Context())
	if got := Classify(err, host); got.Class != ClassWorking {
		t.Fatalf("%v", err)
	}
	s.srv.Mu.Lock()
	clear(s.srv.Accounts)
	s.srv.Mu.Unlock()
	f := s.flow()
	f.Resume, f.Repeated, f.Patience = &s.placed[0], true, 0
	_, err = f.Run(t.Context())
	if got := Classify(err, host); !got.Spent || s.srv.Placed() != 1 {
		t.Errorf("%d orders: %v", s.srv.Placed(), err)
	}
}

// A flow ends when its patience does, says what the CA is doing and until when it
// wants to be left alone, and leaves the challenge in place for the CA to find.
func TestAFlowLeavesASlowOrderToItsCA(t *testing.T) {
	s := newShop(t)
	end := s.srv.Slowly("validating", "3600", "")
	ctx, _, done := WithTrace(t.Context(), time.Now, nil)
	defer done()
	_, err := s.flow().Run(ctx)
	got := Classify(err, host)
	if got.Class != ClassWorking || *got.Working != (Progress{acmez.ChallengeTypeDNS01, true}) || time.Until(got.Until) < 59*time.Minute {
		t.Fatalf("%+v", got)
	}
	if s.zone.Len(host) != 1 {
		t.Error("the challenge was removed")
	}
	f := s.flow()
	f.Resume, f.Repeated, f.Patience = &s.placed[0], true, 0
	f.Resume.Begun = time.Now().Unix()
	if _, err = f.Run(t.Context()); Classify(err, host).Class != ClassWorking || Classify(err, host).Working.Begun {
		t.Errorf("asked again: %v", err)
	}
	end()
	f = s.flow()
	f.Resume, f.Repeated = &s.placed[0], true
	res, err := f.Run(t.Context())
	s.obtained(res, err)
	if s.srv.Count("chal") != 1 || s.srv.Placed() != 1 {
		t.Errorf("the CA was told to validate %d times, in %d orders", s.srv.Count("chal"), s.srv.Placed())
	}
}

// Once a CA has asked to wait nothing more is sent, although acmez would repeat it.
func TestNoRequestFollowsOneThatIsToWait(t *testing.T) {
	s := newShop(t)
	s.srv.AnswerOrders(&acmetest.Answer{Status: 429, Header: map[string]string{"Retry-After": "600"},
		Problem: acmez.Problem{Type: acmez.ProblemTypeRateLimited, Detail: "too many new orders"}})
	ctx, tr, done := WithTrace(t.Context(), time.Now, nil)
	defer done()
	_, err := s.flow().Run(ctx)
	h := tr.Hold()
	if h == nil || h.Status != 429 || time.Until(h.Until) < 9*time.Minute || h.Problem.Detail != "too many new orders" {
		t.Fatalf("hold %+v, error %v", h, err)
	}
	if s.srv.Count("order") != 1 {
		t.Errorf("%d requests for an order", s.srv.Count("order"))
	}
	before := s.srv.Count("")
	if _, err := s.ca.Client.GetAccount(ctx, acmez.Account{PrivateKey: s.key}); err == nil || s.srv.Count("") != before {
		t.Errorf("%d further requests: %v", s.srv.Count("")-before, err)
	}
}

func TestTheErrorOfAllowEndsTheFlow(t *testing.T) {
	s, none := newShop(t), errors.New("no order is allowed")
	f := s.flow()
	f.Allow = func(context.Context, bool) error { return none }
	if _, err := f.Run(t.Context()); !errors.Is(err, none) || s.srv.Placed() != 0 {
		t.Errorf("%d orders: %v", s.srv.Placed(), err)
	}
}
