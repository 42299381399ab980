// Package ownership is the pure core: from a record, what was observed of it
// and the present time it derives conditions, phase, the DNS records the
// customer creates, a diagnosis of what is wrong with them, and when to look
// next. No I/O, no clock, no Caddy.
//
// The way of a decision:
//
//	Input: the record, observations, settings, now          evaluate.go, observation.go
//	   │
//	   ▼
//	facts ─▶ chain, the list of steps                       chain.go
//	   │
//	   ├─ found: what stands at each DNS record             records.go, match.go
//	   │     └─ diagnose: which mistake it is               diagnose.go and its neighbours,
//	   │                                                    cdn.go, occupied.go, problems.go
//	   ├─ zones, provider: whose zone each belongs in         whose.go
//	   ├─ cert: which certificate there is                  certificate.go
//	   ├─ ownership: what it rests on                       proof.go
//	   ├─ OwnershipVerified                                 verified.go
//	   ├─ routes: which challenges DNS lets succeed         routes.go
//	   ├─ front: what answers in our place on purpose       front.go
//	   ├─ caa: who is forbidden to issue                    caalook.go, caa.go, caatold.go,
//	   │                                                    caahabit.go
//	   ├─ told: what is told of each DNS record             told.go
//	   ├─ waits: from when on a challenge may be tried      wait.go
//	   ├─ TLSReady                                          tlsready.go
//	   ├─ the conditions of DNS records and target          conditions.go
//	   ├─ phase                                             phase.go
//	   ├─ Ready                                             conditions.go
//	   ▼
//	Verdict: the whole status, and what follows from it     evaluate.go
//
// Beside it stand the rule on tenants (tenants.go, holder.go), the fleet brake
// (brake.go), when to look next (nextlook.go), and how texts are quoted, cut and put
// together (text.go).
package ownership
