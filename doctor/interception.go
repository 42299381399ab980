package doctor

import (
	"fmt"
	"strings"
)

// judgeInterception says whether the servers of the zone above speak for
// themselves when they are asked for its SOA. A recursive resolver in their place
// offers recursion and has no authority (RFC 1035 section 4.1.1): then port 53 is
// redirected on the way out, and no customer's name server can be asked directly.
func judgeInterception(d delegation) []Finding {
	const check, expected = "interception", "name servers that answer with authority"
	var resolvers, servers []string
	for _, r := range d.soa {
		switch {
		case r.err != nil:
		case r.msg.Authoritative:
			servers = append(servers, r.at)
		case r.msg.RecursionAvailable:
			resolvers = append(resolvers, r.at)
		}
	}
	subject := "port 53 outward, to the servers of " + d.parent
	seen := fmt.Sprintf("a resolver answers in place of %s", strings.Join(resolvers, ", "))
	switch {
	case len(resolvers) > 0 && len(servers) == 0:
		return []Finding{finding(Wrong, check, subject, seen, expected,
			"have this machine's port 53 outward let through, over UDP and TCP: its provider, firewall or router redirects it. Until then customers' name servers are not seen, and what `resolvers` answer is used")}
	case len(resolvers) > 0:
		return []Finding{finding(Note, check, subject, seen, expected, "correct the name servers of "+d.parent+", unless something redirects port 53 to these addresses alone")}
	case len(servers) > 0:
		return []Finding{ok(check, subject, "answered with authority by %s", strings.Join(servers, ", "))}
	}
	return nil // that nobody answers is said of the delegation
}
