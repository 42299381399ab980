package cli

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// Where the admin endpoint tells of the cluster: GET ClusterPath answers ClusterStatus,
// POST ClusterForgetPath?node= ClusterForgotten.
const (
	ClusterPath       = "/apoxy/cluster"
	ClusterForgetPath = ClusterPath + "/forget"
)

// ClusterStatus is what one node knows of the cluster.
type ClusterStatus struct {
	// Node is the one that was asked.
	Node string `json:"node"`
	// Nodes are all that are live or were, by name.
	Nodes []ClusterNode `json:"nodes"`
	// Records is how many there are.
	Records int `json:"records"`
	// Problem is what keeps the node from knowing more; empty: nothing.
	Problem string `json:"problem,omitempty"`
}

// ClusterNode is one node of a cluster.
type ClusterNode struct {
	Name string `json:"name"`
	// Live: it holds its lease.
	Live bool `json:"live"`
	// Since is when it was started or, if it is gone, when it joined last.
	Since   time.Time `json:"since,omitzero"`
	Version string    `json:"version,omitempty"`
	// Answers: it has answered just now; the fields below are its own words.
	Answers bool `json:"answers"`
	// Behind is by how many revisions of the store its memory was behind that of the
	// node that was asked, Looks how many records it looks at.
	Behind int64 `json:"behind,omitempty"`
	Looks  int   `json:"looks"`
	// Problem is what it suffers from; empty: nothing that it knows of.
	Problem string `json:"problem,omitempty"`
}

// ClusterForgotten is what became of forgetting a node.
type ClusterForgotten struct {
	// Forgotten is false if the node is live.
	Forgotten bool `json:"forgotten"`
}

// word makes what a node or its store says fit for one line of a terminal.
func word(s string) string { return harmless(strings.Join(strings.Fields(s), " ")) }

// line is the node in one line, its columns apart by tabs.
func (n ClusterNode) line(s ClusterStatus) string {
	state, rest := "gone", "since its last start at "+stamp(n.Since)+"; forget it with `caddy apoxy cluster forget "+word(n.Name)+"` if it does not come back"
	if n.Live {
		state = "live"
		rest = fmt.Sprintf("looks at %d of %d records, %d revisions behind, up since %s", n.Looks, s.Records, n.Behind, stamp(n.Since))
		if !n.Answers {
			rest = "it holds its lease and does not answer; up since " + stamp(n.Since)
		}
	}
	if n.Version != "" {
		rest += ", version " + word(n.Version)
	}
	if n.Name == s.Node {
		rest += ", asked"
	}
	if n.Problem != "" {
		rest += "; " + word(n.Problem)
	}
	return strings.Join([]string{word(n.Name), state, rest}, "\t")
}

func stamp(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format(time.RFC3339)
}

// ClusterCommand returns the command "cluster" with what is below it. It prints its own
// errors, one line each on Stderr.
func ClusterCommand(env Env) *cobra.Command {
	env = env.withDefaults()
	root := &cobra.Command{
		Use:   "cluster",
		Short: "Tells of the nodes that share a store",
		Long: `Tells of the nodes that share a store. A node is live while it holds its lease
in the store; its work goes to the others within seconds when it does not.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
	}
	finishGroup(env, root)
	status := &cobra.Command{
		Use:     "status",
		Short:   "Prints a line for each node: name, live or gone, and how it is",
		Example: "  caddy apoxy cluster status",
	}
	finish(env, status, func(ctx context.Context, c *client, args []string) error {
		if len(args) > 0 {
			return usagef("status takes no argument, got %s", quote(args[0]))
		}
		var s ClusterStatus
		if _, err := c.read(ctx, request{method: http.MethodGet, path: ClusterPath}, &s); err != nil {
			return err
		}
		w := tabwriter.NewWriter(env.Stdout, 0, 0, 2, ' ', 0)
		for _, n := range s.Nodes {
			fmt.Fprintln(w, n.line(s))
		}
		if err := w.Flush(); err != nil {
			return err
		}
		if s.Problem != "" {
			fmt.Fprintln(env.Stderr, "warning: "+word(s.Problem))
		}
		return nil
	}, true)
	forget := &cobra.Command{
		Use:     "forget NODE",
		Short:   "Forgets a node that is gone for good",
		Example: "  caddy apoxy cluster forget n3",
	}
	finish(env, forget, func(ctx context.Context, c *client, args []string) error {
		if len(args) != 1 {
			return usagef("forget takes the name of one node, got %d arguments", len(args))
		}
		var f ClusterForgotten
		if _, err := c.read(ctx, request{method: http.MethodPost, path: ClusterForgetPath + "?node=" + url.QueryEscape(args[0])}, &f); err != nil {
			return err
		}
		if !f.Forgotten {
			return fmt.Errorf("node %s is live: stop it first", quote(args[0]))
		}
		fmt.Fprintf(env.Stdout, "node %s is forgotten\n", args[0])
		return nil
	}, true)
	status.ValidArgsFunction, forget.ValidArgsFunction = cobra.NoFileCompletions, cobra.NoFileCompletions
	root.AddCommand(status, forget)
	return root
}
