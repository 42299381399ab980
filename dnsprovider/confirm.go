package dnsprovider

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	// confirmTimeout bounds a confirmation, confirmAsk one question of it.
	confirmTimeout = 15 * time.Second
	confirmAsk     = time.Second
	// confirmPause lies between two questions to one server.
	confirmPause = 50 * time.Millisecond
	// confirmDeaf is how many questions in a row a server may leave unanswered
	// before it is passed over.
	confirmDeaf = 2
)

// ConfirmAt makes a confirmation for NewChallenges where several servers share
// the zone: it asks each of them for the value until it is there. One that does
// not answer at all is passed over, for the CA cannot ask it either; one that
// keeps answering without the value is an error.
func ConfirmAt(servers ...netip.AddrPort) func(ctx context.Context, owner, value string) error {
	return func(ctx context.Context, owner, value string) error {
		ctx, cancel := context.WithTimeout(ctx, confirmTimeout)
		defer cancel()
		errs := make([]error, len(servers))
		var wg sync.WaitGroup
		for i, server := range servers {
			wg.Go(func() { errs[i] = confirmOne(ctx, server, owner, value) })
		}
		wg.Wait()
		return errors.Join(errs...)
	}
}

func confirmOne(ctx context.Context, server netip.AddrPort, owner, value string) error {
	for deaf := 0; ; {
		have, err := askText(ctx, server, owner)
		switch {
		case err == nil && slices.Contains(have, value):
			return nil
		case err == nil:
			deaf = 0
		default:
			deaf++
		}
		if deaf == confirmDeaf {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("name server %v does not answer the challenge value at %s: %w", server, owner, ctx.Err())
		case <-time.After(confirmPause):
		}
	}
}

// askText asks a server for TXT, over TCP because that holds any number of
// values.
func askText(ctx context.Context, server netip.AddrPort, owner string) ([]string, error) {
	c := dns.Client{Net: "tcp", Timeout: confirmAsk}
	m := new(dns.Msg).SetQuestion(owner, dns.TypeTXT)
	m.RecursionDesired = false
	in, _, err := c.ExchangeContext(ctx, m, server.String())
	if err != nil {
		return nil, fmt.Errorf("asking %v: %w", server, err)
	}
	var out []string
	for _, rr := range in.Answer {
		if txt, ok := rr.(*dns.TXT); ok {
			out = append(out, strings.Join(txt.Txt, ""))
		}
	}
	return out, nil
}
