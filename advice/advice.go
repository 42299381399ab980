package advice

import (
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// Each message of the API stands alone, so the same advice is in many of them. This
// file parts what was found from what is to be done, so that a page says each once.

// notFound is the reason of a DNS record's problem where nothing is at its name.
const notFound = "NotFound"

// tokenRule says what the configuration asks for, which is nothing to be done.
const tokenRule = "The operator asks every record for its token"

// lookupWords lead a resolver's words in a message. What follows is not ours.
const lookupWords = "The look-up said:"

// acts matches a sentence that names who must act, rests one that says nobody must. The
// API ends every failure's message with such a sentence of its own, after all foreign words.
var (
	acts  = regexp.MustCompile(`(^|[,;] |\b(and|or|before|[Ff]or) )([Tt]he (customer|operator)|[Ww]hoever)\b`)
	rests = regexp.MustCompile(`[Nn]obody needs|by itself|See TLSReady|it is being replaced`)
	// sentenceEnd is a full stop before the first word of a sentence, and not the
	// final dot of a DNS name before a record type.
	sentenceEnd = regexp.MustCompile(`\. [A-Z] ?[a-z]`)
)

// Piece is something that is to be done, and which condition or DNS record asks for it.
type Piece struct{ Source, Text string }

// Finding is what was found, without what is to be done about it.
type Finding struct{ Source, Text string }

// Account is what a page says of a record: each finding and each mend once.
type Account struct {
	Create     []v1alpha3.DNSRecord // not in place, and of use
	Advice     []Piece
	Conditions []Finding // one for each condition that has a message
	Problems   []Finding // by the reason of the problem, one for each DNS record; empty: none
}

// Of sorts out what the messages of a record say.
func Of(r *v1alpha3.DomainRecord) Account {
	var a Account
	for _, d := range r.Status.DNSRecords {
		if !d.Configured && !needless(r, d) {
			a.Create = append(a.Create, d)
		}
	}
	var mends []string // of problems, as they stand in the messages
	for _, d := range r.Status.DNSRecords {
		if d.Problem == nil {
			a.Problems = append(a.Problems, Finding{})
			continue
		}
		found, mend := partMessage(d.Problem.Message, strings.Contains(d.Problem.Message, lookupWords))
		a.Problems = append(a.Problems, Finding{d.Problem.Reason, found})
		if !slices.Contains(mends, strings.Join(mend, " ")) {
			a.advise(adviser(r, d), a.beyondTable(d, mend))
		}
		mends = append(mends, strings.Join(mend, " "))
	}
	for _, c := range r.Status.Conditions {
		if c.Message == "" {
			continue
		}
		if of := repeated(c, r.Status.Conditions); of != nil {
			a.Conditions = append(a.Conditions, Finding{c.Type, of.Type + " is " + string(of.Status) + "."})
			continue
		}
		found, mend := partCondition(c)
		a.Conditions = append(a.Conditions, Finding{c.Type, found})
		a.advise(c.Type, slices.DeleteFunc(mend, func(s string) bool {
			return a.said(r.Status.DNSRecords, s) || slices.ContainsFunc(mends, func(m string) bool { return strings.Contains(m, s) })
		}))
	}
	return a
}

// needless reports whether a DNS record would add nothing: the proof of ownership
// beside another that is in place.
func needless(r *v1alpha3.DomainRecord, d v1alpha3.DNSRecord) bool {
	proven := r.Status.Phase == v1alpha3.PhaseActive || r.Status.Phase == v1alpha3.PhaseIssuing
	return d.Purpose == v1alpha3.PurposeOwnership && !d.Required && d.Problem == nil && proven
}

func (a *Account) advise(source string, sentences []string) {
	text := strings.Join(sentences, " ")
	if text != "" && !slices.ContainsFunc(a.Advice, func(b Piece) bool { return b.Text == text }) {
		a.Advice = append(a.Advice, Piece{source, text})
	}
}

// adviser is what a DNS record's mend stands under: the record or, where that is right
// itself, the condition that has the mend too.
func adviser(r *v1alpha3.DomainRecord, d v1alpha3.DNSRecord) string {
	for _, c := range r.Status.Conditions {
		if d.Configured && c.Status != metav1.ConditionTrue && strings.Contains(c.Message, d.Problem.Message) {
			return c.Type
		}
	}
	return d.Name
}

// beyondTable is the mend of a DNS record without what the table of records to create says.
func (a *Account) beyondTable(d v1alpha3.DNSRecord, mend []string) []string {
	text := strings.Join(mend, " ")
	if d.Problem.Reason == notFound && a.creates(d) {
		_, text, _ = strings.Cut(text, RecordLine(d))
		return []string{strings.TrimSpace(text)}
	}
	for _, c := range a.Create {
		instead := c.Name + " as above"
		if c.Name == d.Name {
			instead = "the one above."
		}
		text = strings.ReplaceAll(text, RecordLine(c), instead)
	}
	return []string{text}
}

func (a *Account) creates(d v1alpha3.DNSRecord) bool {
	return slices.ContainsFunc(a.Create, func(c v1alpha3.DNSRecord) bool { return c.Name == d.Name && c.Value == d.Value })
}

// said reports whether a sentence asks for DNS records, all of which stand in the
// table or have advice of their own.
func (a *Account) said(records []v1alpha3.DNSRecord, sentence string) bool {
	names := false
	for _, d := range records {
		if !strings.Contains(sentence, RecordLine(d)) {
			continue
		}
		if names = true; !a.creates(d) && d.Problem == nil {
			return false
		}
	}
	return names
}

// RecordLine is a DNS record as messages write it.
func RecordLine(d v1alpha3.DNSRecord) string { return d.Name + " " + d.Type + " " + d.Value }

// ProblemWords is what was found wrong with a DNS record, or which condition says it.
func (a *Account) ProblemWords(problem Finding) string {
	if problem.Text == "" {
		return "see To do."
	}
	for _, c := range a.Conditions {
		if strings.Contains(c.Text, problem.Text) {
			return "see " + c.Source + "."
		}
	}
	return problem.Text
}

// ConditionWords is what a condition found. What an earlier one says of a DNS record
// is not said again.
func (a *Account) ConditionWords(i int) string {
	if a.Conditions[i].Text == "" {
		return "See To do."
	}
	var own []string
	at := ""
	for _, s := range Sentences(a.Conditions[i].Text) {
		said := slices.IndexFunc(a.Conditions[:i], func(c Finding) bool { return strings.Contains(c.Text, s) })
		if said >= 0 && slices.ContainsFunc(a.Problems, func(p Finding) bool { return strings.Contains(p.Text, s) }) {
			at = "See " + a.Conditions[said].Source + "."
			continue
		}
		own = append(own, s)
	}
	if len(own) == 0 {
		return at
	}
	return strings.Join(own, " ")
}

// repeated is the condition whose message that of Ready holds, nil if it holds none.
func repeated(c metav1.Condition, all []metav1.Condition) *metav1.Condition {
	for i, of := range all {
		if of.Type != c.Type && of.Message != "" && c.Message == of.Type+" is "+string(of.Status)+": "+of.Message {
			return &all[i]
		}
	}
	return nil
}

// partCondition parts a condition's message. The words of a certificate authority or
// of a resolver may read like advice: before them nothing but the end is taken for it,
// and nothing at all where a condition that is True ends with them.
func partCondition(c metav1.Condition) (found string, mend []string) {
	foreign := strings.Contains(c.Message, lookupWords)
	switch c.Type {
	case v1alpha3.ConditionTLSReady:
		foreign = foreign || c.Reason != v1alpha3.ReasonWaitingForDNS
	case v1alpha3.ConditionTargetReady:
		foreign = true
	case v1alpha3.ConditionOwnershipVerified, v1alpha3.ConditionCNAMEConfigured, v1alpha3.ConditionACMEChallengeDelegationReady:
	default:
		return c.Message, nil // what others have put there
	}
	if c.Status == metav1.ConditionTrue && foreign && c.Type != v1alpha3.ConditionTLSReady {
		return c.Message, nil
	}
	return partMessage(c.Message, foreign)
}

// partMessage parts a message into what was found and the sentences that say who does
// what: the last one that names who acts, what follows it and, unless foreign words may
// stand before it, the ones just before that name somebody too.
func partMessage(message string, foreign bool) (found string, mend []string) {
	all := Sentences(message)
	at := len(all) - 1
	for at >= 0 && !namesActor(all[at]) {
		if rests.MatchString(all[at]) {
			return message, nil
		}
		at--
	}
	if at < 0 {
		return message, nil
	}
	for !foreign && at > 0 && namesActor(all[at-1]) {
		at--
	}
	return strings.Join(all[:at], " "), all[at:]
}

func namesActor(sentence string) bool {
	return acts.MatchString(sentence) && !strings.HasPrefix(sentence, tokenRule)
}

// Sentences splits running text.
func Sentences(s string) []string {
	var out []string
	for {
		at := sentenceEnd.FindStringIndex(s)
		if at == nil {
			return append(out, s)
		}
		out, s = append(out, s[:at[0]+1]), s[at[0]+2:]
	}
}
