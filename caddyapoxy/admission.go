package caddyapoxy

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/target"
)

// decision is what becomes of a request, and the outcome label of the metric
// apoxy_requests_total.
type decision string

const (
	serve             decision = "served"
	redirectPermanent decision = "redirected"
	redirectTemporary decision = "redirected_issuing"
	unknownHost       decision = "unknown_host"
	unverifiedHost    decision = "unverified_host"
	misdirected       decision = "misdirected"
	noTarget          decision = "no_target"
	noBackend         decision = "no_backend" // the record's labels or annotations name none that is allowed
	targetError       decision = "target_error"
	aborted           decision = "aborted"  // given up with http.ErrAbortHandler: the client, or the backend, left in mid-answer
	panicked          decision = "panicked" // a handler of the target has a bug
)

// knownHostDecisions are those that a request can meet whose host has a record.
var knownHostDecisions = []decision{
	serve, redirectPermanent, redirectTemporary, unverifiedHost, misdirected, noTarget, noBackend, targetError, aborted, panicked,
}

// admit is the whole policy of the data plane. host is the record of the
// request's host, nil if it has none; overTLS whether the client came by TLS,
// which a trusted proxy may have ended; sameName whether the client's TLS
// handshake named that record, true where none of the client's is known.
func admit(host *hosts.Host, overTLS, sameName bool) decision {
	switch {
	case host == nil:
		return unknownHost
	case !sameName:
		return misdirected
	case overTLS || !host.TLS:
		if host.Verified {
			return serve
		}
		return unverifiedHost
	case host.Verified && host.TLSReady:
		return redirectPermanent
	case host.Verified || host.Phase() == v1alpha3.PhaseIssuing:
		return redirectTemporary
	}
	return unverifiedHost
}

// status is the HTTP status of a decision that is not to serve.
func (d decision) status() int {
	switch d {
	case redirectPermanent:
		return http.StatusPermanentRedirect
	case redirectTemporary:
		return http.StatusTemporaryRedirect
	case noTarget:
		return http.StatusServiceUnavailable
	}
	return http.StatusMisdirectedRequest
}

// why is a sentence for the operator's log.
func (d decision) why() string {
	switch d {
	case unknownHost:
		return "no DomainRecord has the request's host"
	case unverifiedHost:
		return "the DomainRecord of the request's host is not OwnershipVerified"
	case misdirected:
		return "the TLS server name is another host's than the request's"
	}
	return string(d)
}

// outcomeOf is the outcome of a request that a target served.
func outcomeOf(err error) decision {
	switch {
	case err == nil:
		return serve
	case errors.Is(err, target.ErrNoBackend):
		return noBackend
	}
	var he caddyhttp.HandlerError
	if errors.As(err, &he) && he.StatusCode < 500 {
		return serve
	}
	return targetError
}

// outcomeOfPanic is the outcome of a request whose target panicked with v.
func outcomeOfPanic(v any) decision {
	if v == http.ErrAbortHandler {
		return aborted
	}
	return panicked
}
