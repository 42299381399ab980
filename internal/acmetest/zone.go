package acmetest

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"sync"

	acmez "github.com/mholt/acmez/v3/acme"
)

// Zone holds DNS-01 values in memory. The zero value is ready for use.
type Zone struct {
	mu     sync.Mutex
	values map[string][]string // by hostname
}

// Present adds a value for a hostname.
func (z *Zone) Present(_ context.Context, hostname, value string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.values == nil {
		z.values = map[string][]string{}
	}
	z.values[hostname] = append(z.values[hostname], value)
	return nil
}

// CleanUp removes a value.
func (z *Zone) CleanUp(_ context.Context, hostname, value string) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.values[hostname] = slices.DeleteFunc(z.values[hostname], func(v string) bool { return v == value })
	return nil
}

// Len is how many values a hostname has; "": all of them together.
func (z *Zone) Len(hostname string) (n int) {
	z.mu.Lock()
	defer z.mu.Unlock()
	for h, values := range z.values {
		if hostname == "" || h == hostname {
			n += len(values)
		}
	}
	return n
}

// Validate passes challenges of type DNS-01 whose value is here, and no others.
func (z *Zone) Validate(host, kind, _, keyAuth string) *acmez.Problem {
	sum := sha256.Sum256([]byte(keyAuth))
	z.mu.Lock()
	defer z.mu.Unlock()
	if kind == acmez.ChallengeTypeDNS01 && slices.Contains(z.values[host], base64.RawURLEncoding.EncodeToString(sum[:])) {
		return nil
	}
	return &acmez.Problem{Type: acmez.ProblemTypeUnauthorized, Detail: "no answer to " + kind}
}
