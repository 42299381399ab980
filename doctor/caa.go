package doctor

import (
	"context"
	"strings"

	"github.com/miekg/dns"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// gatherCAA looks the zone's CAA records up, and those of an edge host, where
// an authority that follows a customer's CNAME comes by.
func gatherCAA(ctx context.Context, s Setup, rs []resolver) []reply {
	out := []reply{resolve(ctx, rs, s.Zone, dns.TypeCAA)}
	if s.EdgeHost != "" {
		out = append(out, resolve(ctx, rs, s.EdgeHost, dns.TypeCAA))
	}
	return out
}

// wantedMethods are the two ways that records need: the challenge in the zone, and
// that at the edge.
var wantedMethods = []string{"dns-01", "http-01"}

// judgeCAA says whether the records let the authorities of these identities
// issue, as ownership.JudgeCAA reads them.
func judgeCAA(s Setup, replies []reply, identities []string) []Finding {
	const check = "caa"
	var out []Finding
	for i, r := range replies {
		subject := canonical(r.question.Name)
		if r.err != nil || r.msg.Rcode != dns.RcodeSuccess && r.msg.Rcode != dns.RcodeNameError {
			out = append(out, finding(Wrong, check, subject, r.told(), "CAA records, or the answer that there are none",
				"authorities refuse a name whose CAA look-up fails: mend the delegation and the name servers (above)"))
			continue
		}
		set := ownership.CAAObservation{Outcome: ownership.Seen, Domain: subject, Own: i == 0}
		restricts := false
		for _, rr := range r.msg.Answer {
			if caa, ok := rr.(*dns.CAA); ok {
				set.Records = append(set.Records, ownership.CAARecord{Flag: caa.Flag, Tag: caa.Tag, Value: caa.Value})
				restricts = restricts || strings.EqualFold(caa.Tag, "issue")
			}
		}
		seen := strings.Join(r.values(), ", ")
		verdict := ownership.JudgeCAA(subject, set, ownership.Issuer{Identities: identities, Methods: wantedMethods})
		switch mend := caaMend(i == 0, verdict, subject, identities); {
		case restricts && len(identities) == 0:
			out = append(out, finding(Note, check, subject, seen, "our authorities among them",
				"the authorities do not tell their CAA names: compare them by hand with what their documentation gives"))
		case verdict.NeedsAccount:
			out = append(out, finding(Note, check, subject, seen, "the account that is used here",
				"the records bind the authority to an account, and which one is used is not seen from here: records behind whose hostname it is another say CAAForbidden with the line to add"))
		case !verdict.Allowed:
			out = append(out, finding(Wrong, check, subject, or(seen, "CAA")+": they "+told(verdict.Found, subject), "issue "+strings.Join(identities, " or "), mend))
		case len(verdict.Methods) < len(wantedMethods):
			out = append(out, finding(Wrong, check, subject, seen, "validationmethods with dns-01 and http-01, or without that parameter", mend))
		case !restricts:
			out = append(out, ok(check, subject, "no CAA record that restricts issuance"))
		default:
			out = append(out, ok(check, subject, "%s", seen))
		}
	}
	return out
}

// told leaves the name out of what was found, which the finding has.
func told(found, subject string) string { return strings.TrimPrefix(found, "at \""+subject+"\" ") }

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}

// caaMend says what the operator does, in the zone's own block where it is the zone.
func caaMend(own bool, v ownership.CAAVerdict, subject string, identities []string) string {
	if len(identities) == 0 || !v.Allowed && v.Line == "" {
		return v.Mend
	}
	line := v.Line
	if line == "" { // a method is lacking: without the parameter all are permitted
		line = subject + ". CAA 0 issue \"" + identities[0] + "\""
	}
	_, data, _ := strings.Cut(line, " CAA ")
	if own {
		return "give `zone` a line caa " + data
	}
	return "create `" + line + "`"
}
