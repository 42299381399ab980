package dashboard

import (
	"context"
	"time"
)

// Facts are what the pages show beside the records themselves. Each is asked of whoever
// owns it, at every page; none is kept here.
type Facts interface {
	// Summary counts the records. It is cheap: of what is kept in order anyway.
	Summary(ctx context.Context) Summary
	// Issuance is the queue, its authorities and the ends of certificates, on this node.
	Issuance(ctx context.Context) Issuance
	// Series are what was counted over the last hour, on this node.
	Series(ctx context.Context) []Series
	// Nodes are those of the cluster, one if it has no other.
	Nodes(ctx context.Context) ([]Node, error)
	// Findings are what the doctor found last, and when; the zero time: it has not
	// looked yet.
	Findings(ctx context.Context) (found []Finding, at time.Time, err error)
	// Timeline is what became of a record, oldest first, by its uid.
	Timeline(ctx context.Context, uid string) ([]Event, error)
	// Place is where a hostname stands in the issuance queue; ok is false if it does
	// not wait.
	Place(ctx context.Context, hostname string) (p Place, ok bool)
	// Certificate is the chain that is stored for a hostname, the leaf first; none: an
	// empty slice.
	Certificate(ctx context.Context, hostname string) ([]Certificate, error)
	// Answers is what every name server of the zones that DNS names lie in answers now, in
	// the order of the names. It asks them, at most every few seconds.
	Answers(ctx context.Context, names []string) []NameAnswers
}

// Summary counts records. Reasons are those of conditions that are not True.
type Summary struct {
	Records int
	Phases  []Count
	// Conditions are how many records have each status of each condition.
	Conditions []ConditionCount
	// Reasons are those of Ready that is not True, most first, with who must act.
	Reasons []ReasonCount
}

// Count is how many records there are of something.
type Count struct {
	Name    string
	Records int
}

// ConditionCount is how many records have a status of a condition.
type ConditionCount struct {
	Type                 string
	True, False, Unknown int
}

// ReasonCount is how many records wait for the same thing.
type ReasonCount struct {
	// Type is the condition that Ready takes the reason of.
	Type, Reason string
	Records      int
	// Who must act: customer, operator, CA or nobody (it goes on by itself).
	Who string
	// What it means, in one sentence.
	What string
}

// Issuance is the state of orders.
type Issuance struct {
	Authorities []Authority
	// Expiries are how many certificates end on each day from today on, today first, for
	// at most 100 days; Later are those that end after them, Expired those that have ended.
	Expiries       []int
	Later, Expired int
}

// Authority is a CA as the queue sees it.
type Authority struct {
	Name      string // as spec.tls.certificateAuthority names it
	Directory string // its ACME directory's URL
	Waiting   int    // hostnames in the queue
	InFlight  int    // orders under way
	// Held is until when nothing is ordered of it, and Why; the zero time: it is not held.
	Held time.Time
	Why  string
	// Done is when the last of those that wait has its turn, by the order budget; the
	// zero time: nothing waits or it is not known.
	Done time.Time
}

// Series is something counted in steps of equal length.
type Series struct {
	Name   string // looks, handshakes, requests, DNS queries
	Unit   string // of a value: "in a minute"
	Step   time.Duration
	End    time.Time // of the last step
	Values []float64 // of each step, oldest first; NaN: not known
}

// Node is one of the cluster.
type Node struct {
	Name    string
	Live    bool
	Self    bool
	Version string
	Since   time.Time
	Looks   int    // how many records it looks at
	Problem string // empty: none
}

// Finding is one of the doctor's.
type Finding struct {
	Level    string // ok, warning, error, or as the doctor says
	Check    string
	Subject  string
	Seen     string
	Expected string
	Mend     string
}

// Event is one step of a record's life.
type Event struct {
	Time time.Time
	// Type is what it is of: Created, a condition's type, Phase, Certificate, Check.
	Type string
	// From and To are the condition's status or the phase; empty where there is none.
	From, To string
	Reason   string
	Message  string
}

// NameAnswers is what name servers answer about a name.
type NameAnswers struct {
	Servers []ServerAnswer
	// Trouble is why there are none.
	Trouble string
}

// ServerAnswer is what one name server answers: records in presentation form, none without
// Trouble if there is nothing.
type ServerAnswer struct {
	Name, Address string
	Answers       []string
	Trouble       string
}

// Place is where a hostname stands in a queue.
type Place struct {
	Authority string
	// Ahead is how many are before it, at least; -1: not known.
	Ahead int
	// Due is when it has its turn; the zero time: now.
	Due time.Time
	// InFlight: its order is under way.
	InFlight bool
	// Why it waits; empty: for its turn.
	Why string
}

// Certificate is one of a chain.
type Certificate struct {
	Subject, Issuer     string
	Names               []string
	SerialNumber        string
	NotBefore, NotAfter time.Time
	KeyType, Signature  string
	SHA256              string // fingerprint, hexadecimal
}
