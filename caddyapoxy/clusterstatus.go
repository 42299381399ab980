package caddyapoxy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/apoxy-dev/caddy-apoxy/cli"
)

// reportWithin bounds the wait for the other nodes' words.
const reportWithin = 3 * time.Second

// nodeReport is what a node says of itself.
type nodeReport struct {
	// Revision is up to where its memory has the records.
	Revision int64 `json:"revision"`
	// Looks is how many records it looks at.
	Looks int `json:"looks"`
	// Problem is what it suffers from; empty: nothing.
	Problem string `json:"problem,omitempty"`
}

// report tells how this node is.
func (rt *runtime) report() nodeReport {
	r := nodeReport{Revision: rt.table.Revision()}
	if rt.member.Alone() {
		r.Looks = rt.table.Len()
		return r
	}
	for h := range rt.table.All() {
		if rt.member.Mine(h.Hostname) {
			r.Looks++
		}
	}
	if !rt.member.Live() {
		r.Problem = "it does not hold its lease: it answers SERVFAIL for challenges and obtains no certificates"
	}
	return r
}

// clusterStatus asks all nodes how they are.
func (rt *runtime) clusterStatus(ctx context.Context) cli.ClusterStatus {
	ctx, cancel := context.WithTimeout(ctx, reportWithin)
	defer cancel()
	self, own := rt.nodeName(), rt.report()
	s := cli.ClusterStatus{Node: self, Records: rt.table.Len()}
	nodes := map[string]*cli.ClusterNode{self: {Name: self, Live: rt.member.Live(), Answers: true, Looks: own.Looks, Problem: own.Problem, Since: rt.member.Started(), Version: pluginVersion()}}
	if !rt.member.Alone() {
		members, err := rt.member.Members(ctx)
		if err != nil {
			s.Problem = "nodes that are gone are not listed, and the others are as this node last saw them: " + err.Error()
		}
		for _, m := range members {
			if nodes[m.Name] == nil {
				nodes[m.Name] = &cli.ClusterNode{Name: m.Name, Since: m.Joined, Version: m.Version}
			}
		}
	}
	var asking sync.WaitGroup
	for _, n := range rt.member.Nodes() {
		if n.Name == self {
			continue
		}
		node := &cli.ClusterNode{Name: n.Name, Live: true, Since: n.Started, Version: n.Version}
		nodes[n.Name] = node
		asking.Go(func() { rt.hear(ctx, node, own.Revision) })
	}
	asking.Wait()
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, *n)
	}
	slices.SortFunc(s.Nodes, func(a, b cli.ClusterNode) int { return cmp.Compare(a.Name, b.Name) })
	return s
}

// hear asks another node how it is.
func (rt *runtime) hear(ctx context.Context, n *cli.ClusterNode, revision int64) {
	value, err := rt.member.Ask(ctx, n.Name, askReport, "")
	var r nodeReport
	if err == nil {
		err = json.Unmarshal(value, &r)
	}
	if err != nil {
		n.Problem = err.Error()
		return
	}
	n.Answers, n.Looks, n.Behind, n.Problem = true, r.Looks, max(0, revision-r.Revision), r.Problem
}

// clusterRoutes are where the admin endpoint tells of the cluster.
func (a *AdminAPI) clusterRoutes() []caddy.AdminRoute {
	return []caddy.AdminRoute{
		{Pattern: cli.ClusterPath, Handler: caddy.AdminHandlerFunc(a.cluster)},
		{Pattern: cli.ClusterForgetPath, Handler: caddy.AdminHandlerFunc(a.forgetNode)},
	}
}

func (a *AdminAPI) cluster(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("%s: the cluster is read with GET", r.Method)}
	}
	rt, err := runtimeInForce(r.Context())
	if err != nil {
		return unavailable(w, err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(rt.clusterStatus(r.Context())); err != nil {
		return fmt.Errorf("answering how the cluster is: %w", err)
	}
	return nil
}

func (a *AdminAPI) forgetNode(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("%s: forgetting a node takes POST", r.Method)}
	}
	name := r.URL.Query().Get("node")
	if err := checkNode(name); err != nil {
		return caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	rt, err := runtimeInForce(r.Context())
	if err != nil {
		return unavailable(w, err.Error())
	}
	forgotten, err := rt.member.Remove(r.Context(), name)
	if err != nil {
		return unavailable(w, err.Error())
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(cli.ClusterForgotten{Forgotten: forgotten}); err != nil {
		return fmt.Errorf("answering that a node is forgotten: %w", err)
	}
	return nil
}
