package e2e

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/e2e/testnet"
)

const (
	// again is the answer of a request whose first connection a reload had cut, as Go's web
	// server does now and then to those that have just been opened.
	again = "made again"
	// excused is that of one which the process, killed meanwhile, could not answer.
	excused = "excused"
	// servfailFor is how long Unbound tells that it had no answer.
	servfailFor = 6 * time.Second
	// soakPause leaves the machine to the others.
	soakPause = 10 * time.Millisecond
)

// visit opens a resident's page as a browser does, which makes a request again whose
// connection breaks (RFC 9110 section 9.2.2).
func (s *soak) visit(ctx context.Context) (string, error) {
	host := s.residents[rand.IntN(len(s.residents))]
	began := time.Now()
	c := client(s.p.ca.RootPEM)
	answer := ours
	body, err := visit(ctx, c, "https://"+host+"/")
	if err != nil && ctx.Err() == nil {
		answer = again
		body, err = visit(ctx, c, "https://"+host+"/")
	}
	switch {
	case err != nil && s.outages.excuses(began, servfailFor):
		answer, err = excused, nil
	case err == nil && body != ours:
		err = fmt.Errorf("%s answers %q", host, body)
	}
	time.Sleep(soakPause)
	return answer, err
}

// shake shakes hands for a resident; the certificate must be valid now.
func (s *soak) shake(context.Context) (string, error) {
	host := s.residents[rand.IntN(len(s.residents))]
	began := time.Now()
	answer := ours
	_, err := s.p.handshake(host)
	if err != nil {
		answer = again
		_, err = s.p.handshake(host)
	}
	if err != nil && s.outages.excuses(began, 0) {
		answer, err = excused, nil
	}
	time.Sleep(soakPause)
	if err != nil {
		err = fmt.Errorf("%s: %w", host, err)
	}
	return answer, err
}

// moveIn takes one hostname through a customer's whole way, its visitors with it: in use
// elsewhere, certified, cut over, gone.
func (s *soak) moveIn(ctx context.Context, home *domain) error {
	host := fmt.Sprintf("m%d.%s", s.movers, home.name)
	elsewhere := host + ". A " + testnet.ForeignAddr
	if err := home.server.SetZone(home.name, elsewhere); err != nil {
		return err
	}
	if err := s.churn.insist(ctx, http.MethodPost, host, manifest(host, true)); err != nil {
		return err
	}
	wants, err := s.p.wait(ctx, host, time.Minute, "the DNS records to create", func(r record) error {
		if r.wanted("Traffic").Type == "" || r.wanted("ACMEChallenge").Type == "" {
			return errors.New("they are not there")
		}
		return nil
	})
	if err != nil {
		return err
	}
	line := func(purpose string) string {
		w := wants.wanted(purpose)
		return w.Name + " " + w.Type + " " + w.Value
	}
	if err := home.server.SetZone(home.name, elsewhere, line("ACMEChallenge")); err != nil {
		return err
	}
	// A validation that a kill meets has failed, and is tried again after a minute.
	if _, err := s.p.wait(ctx, host, 3*time.Minute, "its certificate", is("TLSReady=True", "OwnershipVerified=True")); err != nil {
		return err
	}
	if err := home.server.SetZone(home.name, line("Traffic"), line("ACMEChallenge")); err != nil {
		return err
	}
	began := time.Now()
	c := client(s.n.ForeignPEM, s.p.ca.RootPEM)
	err = testnet.Until(time.Minute, "visitors of "+host+" to come to us", func() error {
		asked := time.Now()
		body, err := visit(ctx, c, "https://"+host+"/")
		if err != nil {
			if body, err = visit(ctx, c, "https://"+host+"/"); err != nil && !s.outages.excuses(asked, servfailFor) {
				s.fail(fmt.Errorf("a visitor of %s failed %v after the cutover: %w", host, time.Since(began), err))
			}
		}
		if body != ours {
			return fmt.Errorf("%q answers, %v", body, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	s.movers++
	return s.churn.insist(ctx, http.MethodDelete, host, nil)
}

// withdraw proves an HTTP-only hostname and takes the proof away again.
func (s *soak) withdraw(ctx context.Context, home *domain) error {
	host := "plain." + home.name
	if err := home.server.SetZone(home.name, "@ TXT -"); err != nil {
		return err
	}
	if err := s.churn.insist(ctx, http.MethodPost, host, manifest(host, false)); err != nil {
		return err
	}
	proof := fmt.Sprintf("_apoxy-challenge.%s. CNAME _apoxy-verify.%s.", host, testnet.Zone)
	for _, phase := range []struct {
		lines  []string
		is     string
		status int
	}{
		{[]string{"@ TXT -", proof}, "OwnershipVerified=True", http.StatusOK},
		{[]string{"@ TXT -"}, "OwnershipVerified=False/ProofWithdrawn", http.StatusMisdirectedRequest},
	} {
		if err := home.server.SetZone(home.name, phase.lines...); err != nil {
			return err
		}
		if _, err := s.p.wait(ctx, host, 2*time.Minute, phase.is, is(phase.is)); err != nil {
			return err
		}
		err := testnet.Until(20*time.Second, fmt.Sprintf("%s to be answered %d", host, phase.status), func() error {
			if status, _, err := s.p.plain(ctx, host); err != nil || status != phase.status {
				return fmt.Errorf("it is answered %d, %v", status, err)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return s.churn.insist(ctx, http.MethodDelete, host, nil)
}

var lostQueries = regexp.MustCompile(`Queries lost:\s+(\d+)`)

// ask has dnsperf ask for names that are there and for some that are not. An answer may be
// lost only while nobody is there to give it.
func (s *soak) ask(ctx context.Context, _ int) error {
	var questions strings.Builder
	for _, host := range s.residents {
		fmt.Fprintf(&questions, "%s.%s A\n_acme-challenge.%[1]s.%[2]s TXT\nnobody.%[1]s.%[2]s A\n", host, testnet.Zone)
	}
	file := filepath.Join(s.p.dir, "questions")
	if err := os.WriteFile(file, []byte(questions.String()), 0o600); err != nil {
		return err
	}
	began := time.Now()
	out, err := exec.CommandContext(ctx, "dnsperf", "-s", testnet.ProductAddr, "-d", file, "-l", "3", "-Q", "200").CombinedOutput()
	if err != nil {
		return fmt.Errorf("running dnsperf: %w: %s", err, out)
	}
	lost := lostQueries.FindSubmatch(out)
	if lost == nil {
		return fmt.Errorf("dnsperf says nothing of what was lost: %s", out)
	}
	if string(lost[1]) != "0" && !s.outages.excuses(began, 0) {
		return fmt.Errorf("%s DNS answers were lost: %s", lost[1], out)
	}
	return nil
}

// wait looks at a record until cond holds, over kills.
func (p *product) wait(ctx context.Context, name string, limit time.Duration, what string, cond func(record) error) (r record, err error) {
	err = testnet.Until(limit, fmt.Sprintf("%s of %s", what, name), func() error {
		if r, err = p.get(ctx, name); err != nil {
			return err
		}
		return cond(r)
	})
	return r, err
}
