package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
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

// judgeCAA says whether the records let the authorities of these identities
// issue (RFC 8659 section 4.2, RFC 8657 section 4).
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
		var issue []*dns.CAA
		for _, rr := range r.msg.Answer {
			if caa, ok := rr.(*dns.CAA); ok && strings.EqualFold(caa.Tag, "issue") {
				issue = append(issue, caa)
			}
		}
		seen := strings.Join(r.values(), ", ")
		mend := "give `zone` a line caa 0 issue " + quoted(identities)
		if i > 0 {
			mend = "create `" + subject + ". CAA 0 issue " + quoted(identities) + "`"
		}
		switch permits := permitting(issue, identities); {
		case len(issue) == 0:
			out = append(out, ok(check, subject, "no CAA record that restricts issuance"))
		case len(identities) == 0:
			out = append(out, finding(Note, check, subject, seen, "our authorities among them",
				"the authorities do not tell their CAA names: compare them by hand with what their documentation gives"))
		case permits == nil:
			out = append(out, finding(Wrong, check, subject, seen, "issue "+strings.Join(identities, " or "), mend))
		case !methodsAllow(permits):
			out = append(out, finding(Wrong, check, subject, seen, "validationmethods with dns-01 and http-01, or without that parameter", mend))
		default:
			out = append(out, ok(check, subject, "%s", seen))
		}
	}
	return out
}

func quoted(identities []string) string {
	if len(identities) == 0 {
		return `"…"`
	}
	return fmt.Sprintf("%q", identities[0])
}

// permitting finds a record that names one of the authorities.
func permitting(records []*dns.CAA, identities []string) *dns.CAA {
	for _, r := range records {
		domain, _, _ := strings.Cut(r.Value, ";")
		if slices.Contains(identities, canonical(strings.TrimSpace(domain))) {
			return r
		}
	}
	return nil
}

// methodsAllow reports whether a record lets both ways be gone that records
// need: the challenge in the zone, and that at the edge.
func methodsAllow(r *dns.CAA) bool {
	_, params, _ := strings.Cut(r.Value, ";")
	for param := range strings.SplitSeq(params, ";") {
		tag, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if strings.EqualFold(strings.TrimSpace(tag), "validationmethods") {
			methods := strings.Split(strings.TrimSpace(value), ",")
			return slices.Contains(methods, "dns-01") && slices.Contains(methods, "http-01")
		}
	}
	return true
}
