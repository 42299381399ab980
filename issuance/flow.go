package issuance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	acmez "github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/internal/words"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
)

// orderRef is an order at a CA that may be taken up again.
type orderRef struct {
	CA      string `json:"ca"`
	Account string `json:"account"`
	URL     string `json:"url"`
	// Placed is when, in Unix seconds, as all times here.
	Placed int64 `json:"placed"`
	// Since is when the CA was first found to be still at work; 0: it was not.
	Since int64 `json:"since,omitempty"`
	// Next is when it is asked again, after Asked times.
	Next  int64 `json:"next,omitempty"`
	Asked int   `json:"asked,omitempty"`
	// Method is the challenge that it validates, last begun at Begun; empty while
	// it signs.
	Method string `json:"method,omitempty"`
	Begun  int64  `json:"begun,omitempty"`
	// Elsewhere: the other CAs were asked meanwhile.
	Elsewhere bool `json:"elsewhere,omitempty"`
}

// flow is one run through RFC 8555 section 7.1 for one hostname.
type flow struct {
	ca         *ca
	challenges Challenges
	hostname   string
	// methods are the challenge types that can succeed, best first.
	methods []string
	// replaces is the ARI identifier of the certificate to be replaced (RFC
	// 9773 section 5).
	replaces string
	// resume is an order of before, nil for none.
	resume *orderRef
	// csr gives the request in DER; called once the order is ready. known: the
	// key of an order of before is still there.
	csr   func(ctx context.Context) ([]byte, error)
	known bool
	// alone runs what shows whether the CA accepts the account.
	alone func(ctx context.Context, do func() (accepted bool, err error)) error
	// allow is asked before a new order is placed, placed told once it is.
	allow  func(replaces bool) error
	placed func(ctx context.Context, ref orderRef) error
	// began is told which challenge is being tried.
	began func(method string)
	// patience is how long the CA is waited for here; repeated: it was found at
	// work before, so it is asked once.
	patience time.Duration
	repeated bool
	now      func() time.Time
	// proven is the challenge type of an order of before that needs no more.
	proven string
}

// result is what a flow obtained.
type result struct {
	chain  acmez.Certificate
	method string
}

// run obtains the certificate. Errors carry acmez.Problem, *heldError or *failure.
func (f *flow) run(ctx context.Context) (result, error) {
	for attempt := 0; ; attempt++ {
		var acct acmez.Account
		var order acmez.Order
		err := f.alone(ctx, func() (accepted bool, err error) {
			acct, order, err = f.begin(ctx, attempt > 1)
			return err == nil, err
		})
		var res result
		if err == nil {
			res, err = f.once(ctx, acct, order)
		}
		var p acmez.Problem
		if err == nil || attempt > 1 || !errors.As(err, &p) || p.Type != acmez.ProblemTypeAccountDoesNotExist || errors.As(err, new(*failure)) {
			return res, err
		}
		if err := f.ca.forgetAccount(ctx, acct); err != nil {
			return res, &failure{class: ClassOperator, message: words.Cut(err.Error(), 200), err: err}
		}
		if f.repeated {
			return res, gone("the certificate authority does not know the account any more")
		}
		f.resume = nil
	}
}

// begin finds or registers the account and takes up, or places, the order with
// it. A fault of the account comes back as such; last: an account that the CA does
// not know is one, though it could be registered anew.
func (f *flow) begin(ctx context.Context, last bool) (acmez.Account, acmez.Order, error) {
	acct, err := f.ca.account(ctx)
	if err != nil {
		if fault := f.ca.faulty(err, acct, f.hostname, true); fault != nil {
			err = fault
		}
		return acct, acmez.Order{}, err
	}
	order, err := f.order(ctx, acct)
	var p acmez.Problem
	if unknown := errors.As(err, &p) && p.Type == acmez.ProblemTypeAccountDoesNotExist; unknown && !last && f.ca.auth.AccountKeyPEM == "" {
		return acct, order, err
	}
	if fault := f.ca.faulty(err, acct, f.hostname, false); fault != nil {
		err = fault
	}
	return acct, order, err
}

func (f *flow) once(ctx context.Context, acct acmez.Account, order acmez.Order) (result, error) {
	var res result
	var err error
	res.method = f.proven
	if order.Status == acmez.StatusPending {
		for _, url := range order.Authorizations {
			method, err := f.authorize(ctx, acct, url)
			if err != nil {
				return res, err
			}
			if method != "" {
				res.method = method
			}
		}
	}
	if order.Status != acmez.StatusValid {
		if order, err = f.finish(ctx, acct, order); err != nil {
			return res, err
		}
	}
	chains, err := f.download(ctx, acct, order)
	if err != nil {
		return res, err
	}
	if len(chains) == 0 {
		return res, errors.New("downloading certificate: the certificate authority sent none")
	}
	res.chain = choose(chains, f.ca.auth.PreferredChains)
	return res, nil
}

func (f *flow) download(ctx context.Context, acct acmez.Account, order acmez.Order) ([]acmez.Certificate, error) {
	ctx, cancel, err := f.ca.within(ctx)
	if err != nil {
		return nil, err
	}
	defer cancel()
	chains, err := f.ca.client.GetCertificateChain(ctx, acct, order.Certificate)
	if err != nil {
		return nil, fmt.Errorf("downloading certificate: %w", err)
	}
	return chains, nil
}

// order takes up the order of before, if it is still of use, or places one.
func (f *flow) order(ctx context.Context, acct acmez.Account) (acmez.Order, error) {
	if f.repeated {
		return f.again(ctx, acct)
	}
	if r := f.resume; r != nil && r.CA == f.ca.key && r.Account == acct.Location {
		order, err := f.look(ctx, acct, r.URL)
		var p acmez.Problem
		switch {
		case err != nil && !errors.As(err, &p):
			return order, fmt.Errorf("taking up order: %w", err)
		case err != nil && (p.Status >= 500 || p.Status == 429 || p.Type == acmez.ProblemTypeAccountDoesNotExist):
			return order, fmt.Errorf("taking up order: %w", err)
		case err != nil: // gone
		case order.Status == acmez.StatusPending:
			return order, nil
		default:
			f.proven = f.tidy(ctx, acct, order.Authorizations)
			if order.Status == acmez.StatusReady || (order.Status == acmez.StatusValid || order.Status == acmez.StatusProcessing) && f.known {
				return order, nil
			}
		}
		// Invalid, or signed for a key that was lost: start anew.
		f.resume, f.proven = nil, ""
	}
	if err := f.allow(f.replaces != ""); err != nil {
		return acmez.Order{}, err
	}
	want := acmez.Order{
		Profile:     f.ca.auth.Profile,
		Replaces:    f.replaces,
		Identifiers: []acmez.Identifier{{Type: "dns", Value: f.hostname}},
	}
	if f.ca.auth.Lifetime > 0 {
		until := time.Now().Add(f.ca.auth.Lifetime).Truncate(time.Second)
		want.NotAfter = &until
	}
	call, cancel, err := f.ca.within(ctx)
	if err != nil {
		return acmez.Order{}, err
	}
	order, err := f.ca.client.NewOrder(call, acct, want)
	cancel()
	if f.replaces != "" && refusesReplaces(err) {
		f.ca.log.Warn("the certificate authority does not take an order that names the certificate it replaces; it is placed without",
			zap.String("hostname", f.hostname), zap.String("replaces", f.replaces), zap.Error(err))
		f.replaces = ""
		return f.order(ctx, acct)
	}
	if err != nil {
		return order, fmt.Errorf("placing order: %w", err)
	}
	ref := orderRef{CA: f.ca.key, Account: acct.Location, URL: order.Location, Placed: time.Now().Unix()}
	return order, f.placed(ctx, ref)
}

// refusesReplaces reports whether an order may have been refused for the
// certificate that it names as replaced (RFC 9773 section 5): replaced already,
// another account's, or one that the CA does not find any more. The RFC has a
// problem type for the first alone.
func refusesReplaces(err error) bool {
	var p acmez.Problem
	if !errors.As(err, &p) {
		return false
	}
	switch p.Type {
	case acmez.ProblemTypeAlreadyReplaced, acmez.ProblemTypeMalformed, acmez.ProblemTypeUnauthorized, acmez.ProblemTypeServerInternal:
		return true
	}
	return false
}

// authorize proves control for one authorization and returns the challenge
// type used; empty if it was valid already.
func (f *flow) authorize(ctx context.Context, acct acmez.Account, url string) (string, error) {
	authz, err := f.authorization(ctx, acct, url)
	if err != nil {
		return "", err
	}
	switch authz.Status {
	case acmez.StatusValid:
		if f.resume != nil {
			f.withdrawAll(ctx, authz)
		}
		return provenBy(authz), nil
	case acmez.StatusPending:
	default:
		if f.resume != nil {
			f.withdrawAll(ctx, authz)
		}
		return "", authzError(authz)
	}
	chal, err := f.pick(authz)
	if err != nil {
		return "", err
	}
	if f.began != nil {
		f.began(chal.Type)
	}
	cleanUp, err := f.present(ctx, chal)
	if err != nil {
		return "", &failure{class: ClassPassing, err: err, message: "putting the challenge in place failed: " + words.Cut(err.Error(), 200)}
	}
	at := progress{method: chal.Type, begun: f.idle(chal)}
	if at.begun {
		err = f.initiate(ctx, acct, chal)
	}
	switch {
	case err != nil:
	case f.repeated:
		err = f.atWork(ctx, at)
	default:
		err = f.await(ctx, acct, url, at)
	}
	var left *failure
	if !errors.As(err, &left) || left.class != ClassWorking {
		cleanUp() // else the CA is going to look at it
	}
	return chal.Type, err
}

// idle reports whether the CA must be told to validate: at first, and again
// after a long time, because some leave a validation that failed pending.
func (f *flow) idle(chal acmez.Challenge) bool {
	if f.repeated {
		return f.now().Sub(times.Unix(f.resume.Begun)) > f.ca.auth.timeout()
	}
	return chal.Status != acmez.StatusProcessing
}

// pick chooses among the challenges that the CA offers.
func (f *flow) pick(authz acmez.Authorization) (acmez.Challenge, error) {
	var offered []string
	for _, m := range f.methods {
		for _, c := range authz.Challenges {
			if c.Type == m && (c.Status == acmez.StatusPending || c.Status == acmez.StatusProcessing || c.Status == "") {
				return c, nil
			}
		}
	}
	for _, c := range authz.Challenges {
		offered = append(offered, c.Type)
	}
	return acmez.Challenge{}, &failure{class: ClassOperator,
		message: fmt.Sprintf("the certificate authority offers %v, of which none can be used here (usable: %v)", offered, f.methods)}
}

// present puts the answer to a challenge where the CA will look: into our
// zone, or into storage, from where every node's Caddy answers.
func (f *flow) present(ctx context.Context, chal acmez.Challenge) (cleanUp func(), err error) {
	cleanUp = func() { f.withdraw(ctx, chal) }
	if chal.Type == acmez.ChallengeTypeDNS01 {
		if f.challenges == nil {
			return nil, errors.New("there is no zone to publish the challenge in")
		}
		err = f.challenges.Present(ctx, f.hostname, chal.DNS01KeyAuthorization())
	} else {
		raw, jerr := json.Marshal(chal)
		if jerr != nil {
			return nil, fmt.Errorf("encoding challenge: %w", jerr)
		}
		err = f.ca.storage().Store(ctx, certfiles.ChallengeKey(f.ca.key, f.hostname), raw)
	}
	if err != nil {
		cleanUp()
		return nil, err
	}
	return cleanUp, nil
}

func authzError(authz acmez.Authorization) error {
	i := slices.IndexFunc(authz.Challenges, func(c acmez.Challenge) bool { return c.Error != nil })
	if i < 0 {
		return &failure{class: ClassPassing, message: "the authorization is " + words.Cut(authz.Status, 40)}
	}
	p := *authz.Challenges[i].Error
	p.Resource = authz
	return fmt.Errorf("%s: %w", authz.Challenges[i].Type, p)
}
