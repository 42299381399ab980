package caddyapoxy

import (
	"slices"
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// warnOfCAA says, once, if the zone's own caa lines forbid every configured CA of
// which the name in CAA records is known: customers' hostnames are aliases of names
// in the zone and inherit them (RFC 8659 section 3).
func (a *App) warnOfCAA(issuers []ownership.Issuer) {
	known := slices.DeleteFunc(slices.Clone(issuers), func(i ownership.Issuer) bool { return len(i.Identities) == 0 })
	if len(a.zone.CAA) == 0 || a.caaWarned.Load() || !caaForbids(a.zone.CAA, a.zone.Name, known) || a.caaWarned.Swap(true) {
		return
	}
	var names []string
	for _, i := range known {
		names = append(names, i.Identities...)
	}
	a.logger.Warn("the zone's `caa` lines forbid the configured certificate authorities, for every hostname that is a CNAME into the zone: "+
		"add a line for one of them, such as `caa 0 issue \""+names[0]+"\"`, or take the lines out",
		zap.String("zone", a.zone.Name), zap.Strings("authorities", names), zap.Strings("caa", a.zone.CAA))
}

// caaForbids tells whether the zone's CAA records, in presentation form, forbid all
// issuers, of which there are some. That wildcards are forbidden alone may be meant.
func caaForbids(records []string, zone string, issuers []ownership.Issuer) bool {
	o := ownership.CAAObservation{Outcome: ownership.Seen, Domain: zone, Own: true}
	for _, text := range records {
		if r, ok := readCAA(text); ok {
			o.Records = append(o.Records, r)
		}
	}
	return len(issuers) > 0 && !slices.ContainsFunc(issuers, func(i ownership.Issuer) bool {
		v := ownership.JudgeCAA("any."+zone, o, i)
		return v.Allowed || v.NeedsAccount
	})
}

// readCAA reads a record that the zone has taken, such as 0 issue "ca.test".
func readCAA(text string) (ownership.CAARecord, bool) {
	fields := strings.SplitN(strings.Join(strings.Fields(text), " "), " ", 3)
	if len(fields) != 3 {
		return ownership.CAARecord{}, false
	}
	flag, err := strconv.ParseUint(fields[0], 10, 8)
	value := fields[2]
	if unquoted, uerr := strconv.Unquote(value); uerr == nil {
		value = unquoted
	}
	return ownership.CAARecord{Flag: uint8(flag), Tag: fields[1], Value: value}, err == nil
}
