package issuance

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/issuance/acme"
	"github.com/apoxy-dev/caddy-apoxy/issuance/edge"
)

// mendEdge says what the operator does about an edge that is not reached.
const mendEdge = "The operator opens ports 80 and 443 at the addresses of `edge`, or mends `edge`; where only this machine cannot reach them " +
	"(NAT without hairpin, PROXY protocol), the option `edge_check` of the zone says what to ask in their place"

// reachable leaves of the challenge types those with which CAs get at our edge.
func (ts *tools) reachable(ctx context.Context, c *ca, hostname string, methods []string) ([]string, *acme.Failure) {
	left, err := ts.edgeCheck.Possible(ctx, c.Challenges(), hostname, ts.cfg.Edge(), methods)
	switch unreachable := new(edge.Unreachable); {
	case err == nil:
		return left, nil
	case errors.As(err, &unreachable):
		return nil, &acme.Failure{Class: acme.ClassEdge, Err: err, Message: err.Error(), Mend: mendEdge}
	case ctx.Err() != nil:
		return nil, acme.Classify(err, hostname)
	}
	return nil, acme.Failed(acme.ClassOperator, "", err)
}

// reached takes over that a CA met us by a type of challenge, and has the hostnames
// tried that waited to know whether one can.
func (ts *tools) reached(ctx context.Context, method string) {
	waited, err := ts.edgeCheck.Succeeded(ctx, method)
	if err != nil {
		ts.log.Error("noting that certificate authorities reach the edge failed; a restart has to find it out again", zap.Error(err))
	}
	for _, hostname := range waited {
		ts.retry(hostname)
	}
}
