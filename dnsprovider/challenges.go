package dnsprovider

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// challengeLife is how long a challenge value is answered if nothing removes
// it: longer than any CA takes, short enough that a crash leaves nothing.
const challengeLife = 2 * time.Hour

// Challenges publishes DNS-01 values: TXT records at _acme-challenge.N.Z with
// TTL 0, several per name, each gone after two hours at the latest.
type Challenges struct{ sets *RRSets }

// NewChallenges publishes in the zone of the RRsets.
func NewChallenges(sets *RRSets) *Challenges { return &Challenges{sets} }

// Present adds a value for the hostname (*.example.com for a wildcard) beside
// those that are there and returns once it is answered, by every peer too.
func (c *Challenges) Present(ctx context.Context, hostname, value string) error {
	owner, err := c.owner(hostname)
	if err != nil {
		return fmt.Errorf("presenting a challenge: %w", err)
	}
	if err := c.sets.Update(ctx, owner, "TXT", func(s *RRSet) error { s.present(value); return nil }); err != nil {
		return fmt.Errorf("presenting a challenge for %s: %w", hostname, err)
	}
	return nil
}

// CleanUp removes a value. It is no error if it is gone.
func (c *Challenges) CleanUp(ctx context.Context, hostname, value string) error {
	owner, err := c.owner(hostname)
	if err != nil {
		return fmt.Errorf("removing a challenge: %w", err)
	}
	_, _, err = c.sets.update(ctx, owner, "TXT", func(s *RRSet) error {
		s.Values = slices.DeleteFunc(s.Values, func(v Value) bool { return v.Data == value })
		return nil
	})
	if err != nil {
		return fmt.Errorf("removing a challenge for %s: %w", hostname, err)
	}
	return nil
}

// present adds a challenge value, or puts off when the one there expires.
func (s *RRSet) present(value string) {
	s.TTL = 0
	until := time.Now().Add(challengeLife).UTC().Truncate(time.Second)
	for i := range s.Values {
		if s.Values[i].Data == value {
			s.Values[i].Expires = &until
			return
		}
	}
	s.Values = append(s.Values, Value{Data: value, Expires: &until})
}

// owner is where a hostname's challenge values stand, relative to the zone. A
// wildcard's stand with its base's: the customer has one delegation for both.
func (c *Challenges) owner(hostname string) (string, error) {
	name := strings.TrimSuffix(strings.ToLower(hostname), ".")
	base := strings.TrimPrefix(name, "*.")
	if _, err := hostName(base); err != nil {
		return "", err
	}
	return challengePrefix + base, nil
}
