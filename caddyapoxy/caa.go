package caddyapoxy

import (
	"strconv"
	"strings"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// warnOfCAA says, once, if the zone's own caa lines forbid every configured CA of
// which the name in CAA records is known: customers' hostnames are aliases of names
// in the zone and inherit them (RFC 8659 section 3).
func (a *App) warnOfCAA(identities []string) {
	if len(a.zone.CAA) == 0 || a.caaWarned.Load() || !caaForbids(a.zone.CAA, a.zone.Name, identities) || a.caaWarned.Swap(true) {
		return
	}
	a.logger.Warn("the zone's `caa` lines forbid the configured certificate authorities, for every hostname that is a CNAME into the zone: "+
		"add a line for one of them, such as `caa 0 issue \""+identities[0]+"\"`, or take the lines out",
		zap.String("zone", a.zone.Name), zap.Strings("authorities", identities), zap.Strings("caa", a.zone.CAA))
}

// caaForbids tells whether the zone's CAA records, in presentation form, forbid all
// issuers. That wildcards are forbidden alone may be meant.
func caaForbids(records []string, zone string, issuers []string) bool {
	o := ownership.CAAObservation{Outcome: ownership.Seen, Domain: zone}
	for _, text := range records {
		if r, ok := readCAA(text); ok {
			o.Records = append(o.Records, r)
		}
	}
	return ownership.DiagnoseCAA("any."+zone, o, issuers) != nil
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
