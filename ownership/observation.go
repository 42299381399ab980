package ownership

import (
	"errors"
	"net/netip"
	"time"
)

// Outcome is what became of a look. Only Seen and Absent are affirmative: they
// alone may change a condition.
type Outcome uint8

const (
	// CouldNotTell: no affirmative answer (timeout, SERVFAIL, REFUSED, servers
	// that disagree, not looked yet). Whatever was known before still holds.
	CouldNotTell Outcome = iota
	// Seen: there is something, and its values are given.
	Seen
	// Absent: an authoritative "there is nothing" (NXDOMAIN or NODATA).
	Absent
)

// DNSObservation is what was seen at one name.
type DNSObservation struct {
	Outcome Outcome
	// Chain holds the targets of the CNAMEs followed from the name, in order,
	// lower case, absolute with the final dot. Empty: the name has no CNAME.
	Chain []string
	// Dangling: the chain is not empty and its last name does not exist.
	// That is an affirmative answer, not a failure.
	Dangling bool
	// Addresses are the A and AAAA records at the end of the chain.
	Addresses []netip.Addr
	// Other holds further records found at the name itself in presentation
	// form, such as `TXT "abc"`: what stands there in place of, or beside, the CNAME.
	Other []string
	// NXDomain: the name itself does not exist at all (Absent without it: it
	// exists and has other types).
	NXDomain bool
	// TTL is how long caches keep what was seen.
	TTL time.Duration
	// Err says why nothing could be told, or who disagrees; a sentence without
	// a final full stop. Also set beside an affirmative answer that has a caveat.
	Err string
	// Servers are those that were asked.
	Servers []NameServer
	// Elsewhere holds names beside the expected one at which the expected
	// value was found (a registrar that appended its own zone to the owner name).
	Elsewhere []string
	// Problem, when not empty, is what the resolver itself learnt about the
	// zone: one of the Zone… constants.
	Problem ZoneProblem
	// Stale lists resolvers that still hold another answer, and until when.
	Stale []StaleAnswer
	// Cached: the answer comes out of recursive resolvers, because the
	// customer's own servers could not be asked, and may be up to TTL old.
	Cached bool
	// Barred: Cached, because they lie where the operator lets nothing be asked
	// on a stranger's word. Then the resolvers are the source.
	Barred bool
	// Wildcard: a wildcard record of the customer's zone made up the answer;
	// no record stands at the name itself.
	Wildcard bool
	// Sibling is what stands beside the name. It is looked at only where the name
	// itself has addresses of the edge and no others.
	Sibling Sibling
	// Brief: one server alone said it, and it is what was known before.
	Brief bool
	// Apex: the name is the top of its zone (it owns an SOA), where no CNAME
	// may stand. A registrable domain is taken for one without it.
	Apex bool
	// Zone is the top of the customer's zone that the name lies in, absolute with the
	// final dot; empty: that was not learnt. ZoneSure: its servers said so; else the name
	// may be in a zone below it on the same servers.
	Zone     string
	ZoneSure bool
	// ZoneServers are the names of that zone's servers, in order; whoever reads them
	// changes none.
	ZoneServers []string
	// At is when this was seen.
	At time.Time
}

// NameServer is one address of a name server.
type NameServer struct {
	// Name is the server's, absolute with the final dot; empty for a recursive
	// resolver, which is known by its address alone.
	Name string
	Addr netip.Addr
}

// Sibling is what was seen at a name beside another one that nobody can have
// created: what a wildcard makes up, if anything.
type Sibling struct {
	// Told: there was an affirmative answer.
	Told bool
	// Addresses are the sibling's own A and AAAA records.
	Addresses []netip.Addr
}

// StaleAnswer is an old answer that a recursive resolver still holds.
type StaleAnswer struct {
	Resolver string
	Value    string
	Until    time.Time
	// Addresses are what it holds where Value is addresses.
	Addresses []netip.Addr
}

// ZoneProblem is a fault of the customer's zone as a whole.
type ZoneProblem string

const (
	ZoneNotRegistered ZoneProblem = "NotRegistered" // the registered domain does not exist
	ZoneLame          ZoneProblem = "Lame"          // no server of the delegation answers for it
	ZoneServFail      ZoneProblem = "ServFail"
	ZoneBogus         ZoneProblem = "DNSSECBogus" // DNSSEC validation fails
	ZoneUnreachable   ZoneProblem = "Unreachable" // servers time out
	// ZoneIntercepted: a resolver answers in place of every name server, because
	// something on our way out redirects port 53.
	ZoneIntercepted ZoneProblem = "Intercepted"
	// ZoneResolver: a resolver answers in place of the zone's servers, and
	// others are not intercepted.
	ZoneResolver ZoneProblem = "Resolver"
	// ZoneDisagrees: the zone's servers give different answers, so nothing can
	// be told yet; Err says who answers what.
	ZoneDisagrees ZoneProblem = "Disagrees"
)

// ErrBogus is the error of who looked in DNS and found what should be there, but
// under DNSSEC signatures that do not hold, so that every CA would refuse to believe it.
var ErrBogus = errors.New("the DNSSEC signatures of its zone do not hold")

// CertificateObservation is what is known of the hostname's certificate and of
// the work on it. It comes from issuance's memory and is always affirmative
// unless Outcome says otherwise.
type CertificateObservation struct {
	// Outcome: Seen with a stored certificate, expired or not; Absent without.
	Outcome Outcome
	// RecordUID and RecordOwner are the uid and the owner of the record that the
	// certificate was issued for.
	RecordUID, RecordOwner string
	// Issuer, SerialNumber, Challenge as in CertificateStatus.
	Issuer, SerialNumber, Challenge  string
	NotBefore, NotAfter, RenewalTime time.Time
	// Revoked is when the certificate authority revoked it, zero if it has not;
	// RevocationReason the reason's name in RFC 5280, empty if it gave none.
	Revoked          time.Time
	RevocationReason string
	// Gone is since when storage has been without that certificate, unexpired
	// though it is; zero: it is not missed. GoneFrom says where it was looked for,
	// in words of ours that name foreign things.
	Gone     time.Time
	GoneFrom string
	// Doubt says why it could not be told lately whether storage still has it;
	// empty: it could, or it was not looked at. What was known before holds.
	Doubt string
	// Uploaded is the customer's own certificate, nil if there is none. It stands apart
	// because it proves nothing: all else here is of the one that was obtained.
	Uploaded *UploadedCertificate
	// Work is what issuance is doing about a certificate now.
	Work Work
	// Message says more about Work: the CA's words, a place in the queue.
	Message string
	// FoundHere: with WorkCAAForbids, issuance itself judged the CAA records before it
	// asked the authority, and Mend says which one to add. Otherwise the authority
	// refused, in words of its own.
	FoundHere bool
	// Mend says in a sentence of ours who must act and how. Empty: nobody needs to.
	Mend string
	// Until is when a held or failed name is tried again; zero if unknown.
	Until time.Time
}

// UploadedCertificate is a certificate that the customer brought.
type UploadedCertificate struct {
	// RecordUID is the uid of the record that it was uploaded for. It counts for no other.
	RecordUID string
	// Issuer, SerialNumber as in CertificateStatus. RenewalTime is from when on another
	// one is obtained in its place.
	Issuer, SerialNumber             string
	NotBefore, NotAfter, RenewalTime time.Time
	// Gone is since when storage has been without it; zero: it is not missed.
	Gone time.Time
	// Replaced: one that was obtained has taken its place before its end.
	Replaced bool
}

// AwaitsDNS reports whether issuance itself found that DNS is not ready, and waits for
// it. It is the one case in which there is something to tell of no work.
func (o *CertificateObservation) AwaitsDNS() bool { return o.Work == WorkNone && o.Message != "" }

// Work is the state of a hostname in issuance.
type Work uint8

const (
	WorkNone        Work = iota // nothing is under way or waiting
	WorkQueued                  // due, waiting for its turn
	WorkIssuing                 // an order is in flight
	WorkFailed                  // the last try failed; the next is at Until
	WorkRateLimited             // the CA asked to wait until Until
	WorkCAAForbids              // CAA records forbid the CA
)

// TargetObservation is what is known of the target that a record names.
type TargetObservation struct {
	// Unknown: nothing is known yet; whatever was known before still holds.
	Unknown bool
	// Found: the configuration has the target.
	Found bool
	// Healthy: it can serve.
	Healthy bool
	// Unchecked: it counts as healthy because nothing checks whether it is.
	Unchecked bool
	// OfRecord: it can serve one record and not another, by what their labels and
	// annotations say.
	OfRecord bool
	// Message says why not, or who serves where that can change.
	Message string
}

// Observations is everything seen in one look.
type Observations struct {
	// Traffic is what stands at N, ACMEChallenge at _acme-challenge.N,
	// Ownership at _apoxy-challenge.N.
	Traffic, ACMEChallenge, Ownership DNSObservation
	Certificate                       CertificateObservation
	Target                            TargetObservation
	// CAA is the relevant CAA record set of N. The zero value: not looked.
	CAA CAAObservation
}

// CAAObservation is the relevant CAA record set of a hostname, as RFC 8659
// section 3 finds it. Seen with no records is the same as Absent.
type CAAObservation struct {
	Outcome Outcome
	// Domain is where the set was found, with or without the final dot.
	Domain string
	// Own: that is in the operator's zone.
	Own     bool
	Records []CAARecord
}

// CAARecord is one CAA property (RFC 8659 section 4), whole.
type CAARecord struct {
	Flag  uint8
	Tag   string
	Value string
}

// Zone is what the core must know of the operator's zone.
type Zone struct {
	// Name is Z, lower case, without the final dot.
	Name string
	// EdgeAddresses or EdgeHost (no final dot) is what N.Z answers. Beside an
	// EdgeHost, EdgeAddresses may hold what that resolves to: then an apex that
	// flattens it is recognised.
	EdgeAddresses []netip.Addr
	EdgeHost      string
}

// Settings are the operator's choices that decisions depend on.
type Settings struct {
	Zone Zone
	// CheckInterval is how often an unsettled record is looked at.
	CheckInterval time.Duration
	// DetachAfter is how long every proof must be affirmatively gone before
	// OwnershipVerified falls.
	DetachAfter time.Duration
	// FleetBrakeHold is how long the fleet brake may hold; 0 is the default.
	FleetBrakeHold time.Duration
	// UnprovenTTL is how long a record may exist without ever having been
	// verified before it is deleted. 0: for ever.
	UnprovenTTL time.Duration
	// ProofToken: every record needs its own token, contested or not.
	ProofToken bool
	// Issuers are the configured certificate authorities, for what CAA records say
	// of them.
	Issuers []Issuer
}
