package resolver

import (
	"context"
	"fmt"
	"strings"

	"github.com/miekg/dns"
)

// Bounds of the texts of one name.
const (
	maxTexts    = 8
	maxTextSize = 1024
)

// Texts returns the TXT records of an absolute name as the recursive resolvers tell it,
// CNAMEs followed, the strings of each put together; none if there are none, or none of
// sensible length. An error: could not tell.
func (r *Resolver) Texts(ctx context.Context, name string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.Timeout)
	defer cancel()
	in, _, err := r.recurse(ctx, RegisteredDomain(name), absolute(name), dns.TypeTXT)
	if err == nil && !decided(in) {
		err = refusal(in.Rcode)
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the TXT records of %s: %w", strings.TrimSuffix(name, "."), err)
	}
	var texts []string
	for _, rr := range in.Answer {
		txt, ok := rr.(*dns.TXT)
		if !ok || len(texts) == maxTexts {
			continue
		}
		if text := strings.Join(txt.Txt, ""); len(text) <= maxTextSize {
			texts = append(texts, text)
		}
	}
	return texts, nil
}
