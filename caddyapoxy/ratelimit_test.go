package caddyapoxy

import (
	"testing"

	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
)

func TestRateLimitInForce(t *testing.T) {
	for configured, want := range map[int]int{0: dnsprovider.DefaultRateLimit, noRateLimit: 0, 7: 7} {
		if got := (&App{DNSRateLimit: configured}).rateLimit(); got != want {
			t.Errorf("%d configured: %d, want %d", configured, got, want)
		}
	}
}
