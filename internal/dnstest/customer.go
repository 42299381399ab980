package dnstest

import "testing"

// Customer is a World with the zone example.com on two servers of a provider's, and
// example.net, which holds the operator's.
type Customer struct {
	*World
	NS1, NS2 *Server
	// Domain is example.com.
	Domain *Zone
}

// NewCustomer starts one that lives as long as the test.
func NewCustomer(t testing.TB) *Customer {
	w := New(t)
	c := &Customer{World: w, NS1: w.Server("ns1.provider.test"), NS2: w.Server("ns2.provider.test")}
	c.Domain = w.Zone("example.com", c.NS1, c.NS2)
	w.Zone("example.net", w.Server("ns1.example.net"))
	return c
}

// Behave has both servers behave so.
func (c *Customer) Behave(b Behaviour) {
	c.NS1.Behave(b)
	c.NS2.Behave(b)
}

// What the customer creates for api.example.com in the operator's zone
// cname.example.net.
const (
	RightTraffic   = "api 300 IN CNAME api.example.com.cname.example.net."
	RightChallenge = "_acme-challenge.api 300 IN CNAME _acme-challenge.api.example.com.cname.example.net."
)
