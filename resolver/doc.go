// Package resolver asks DNS. It sees a name as the world's certificate authorities
// see it, at the authoritative name servers, and tells what it saw in the words of
// ownership: observations, problems of zones, record sets. It knows no records, no
// store and no certificates, decides nothing, and alone beside dnsprovider and doctor
// knows of DNS messages.
//
// The way of a question:
//
//	Observe           Delegated, Arrives, Addresses    CAA          observe.go, arrives.go,
//	   │                          │                     │           caa.go
//	   ├─ an Unproven look ──▶ glance: few questions    │           glance.go, ration.go
//	   ▼                          ▼                     ▼
//	follow, name after name of a chain of CNAMEs; caaAt likewise
//	   │
//	   ▼
//	consult ── port 53 is closed, or nobody answered ──┐            authority.go, closed.go,
//	   │                                               │            intercepted.go
//	   ▼                                               ▼
//	locate: which servers?                        viaResolvers      zone.go, nameservers.go,
//	   │  search, descend ── recurse ──────────────┐   │            recursive.go
//	   │  barred ones are left out                 │   │            barred.go
//	   ▼                                           ▼   ▼
//	askAll ─▶ hear, each server              askRecursor, each
//	   │         │                                 │
//	   │         ▼                                 ▼
//	   │      gates: a place of the domain, then a slot of all      gates.go, exchange.go
//	   │         │
//	   │         ▼
//	   │      exchange: pay, UDP, again, TCP                        ration.go, share.go
//	   │         │
//	   ▼         ▼
//	agree ◀── understand: what one server said                      agree.go, message.go,
//	   │                                                            saying.go
//	   ▼
//	answer: affirmed, or why not                                    blame.go
//	   │
//	   ▼
//	beside it, in whose zone the name lies                          whose.go
//	Texts, for Domain Connect: recurse alone                        texts.go
//	Survey, for a person: all that each server answers              survey.go
//	beside it, for a diagnosis: wildcards, names that registrars    mistakes.go, sibling.go,
//	make, tops of zones, resolvers that hold an old answer          apex.go, stale.go
//
// Locks. Each guards one memory, is held for no longer than that is read or written,
// and is never held while another is taken or a packet is awaited:
//
//	lru.Cache       zone cuts, zones below them, servers' addresses
//	gates.mu        which domains have a gate
//	share.mu        when an address may be asked again
//	muted.mu        domains in a row that only resolvers could tell of
//	outward.mu      whether port 53 is intercepted
//	zone.silence    a sync.Map: which types nobody answered a moment ago
//
// What is waited for with places in hand: a question to a server holds a place of its
// domain's gate, then one of the slots for all, always in this order, and asks nothing
// else until it has given both back; only the root's servers are asked without the
// former. One search for a zone serves all who need it (flights); it goes on when who
// began it leaves.
package resolver
