package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// clusterPath is where the running server tells of the nodes that share its store.
const clusterPath = "/apoxy/cluster"

// node is one of them, as it is told.
type node struct {
	Name    string `json:"name"`
	Live    bool   `json:"live"`
	Answers bool   `json:"answers"`
	Behind  int64  `json:"behind"`
	Problem string `json:"problem"`
}

// nodes is what the running server tells of them.
type nodes struct {
	asked   bool
	Nodes   []node `json:"nodes"`
	Problem string `json:"problem"`
	err     error
}

// gatherNodes asks the admin endpoint, if that is known.
func (o Options) gatherNodes(ctx context.Context) (n nodes) {
	if o.Base == "" {
		return n
	}
	n.asked = true
	text, err := get(ctx, o.Admin, strings.TrimSuffix(o.Base, "/")+clusterPath)
	if err == nil {
		err = json.Unmarshal(text, &n)
	}
	n.err = err
	return n
}

// maxBehind is by how many changes of the store a node may be behind without a word.
const maxBehind = 1000

func judgeNodes(n nodes) (out []Finding) {
	const check = "cluster"
	switch {
	case !n.asked:
		return nil
	case n.err != nil:
		return []Finding{finding(Note, check, "nodes", "how they are cannot be told: "+n.err.Error(), "an answer at "+clusterPath+" of the admin endpoint", "ask another node, with --address")}
	case n.Problem != "":
		out = append(out, finding(Wrong, check, "store", n.Problem, "an answer of the store", "mend what the store suffers from: until then records cannot be changed and no certificate is obtained"))
	}
	if len(n.Nodes) < 2 {
		return out
	}
	for _, n := range n.Nodes {
		subject := "node " + printable(n.Name)
		switch {
		case !n.Live && n.Problem != "":
			out = append(out, finding(Wrong, check, subject, n.Problem, "a node that holds its lease", "look at its log and at its way to the store"))
		case !n.Live:
			out = append(out, finding(Wrong, check, subject, "it is gone", "a node that holds its lease", "start it or, if it does not come back, `caddy apoxy cluster forget "+printable(n.Name)+"` and take its name server out of the zone and its delegation"))
		case !n.Answers:
			out = append(out, finding(Wrong, check, subject, "it holds its lease and does not answer: "+n.Problem, "an answer", "look at its log, and whether its machine is overloaded"))
		case n.Behind > maxBehind:
			out = append(out, finding(Wrong, check, subject, fmt.Sprintf("it is %d changes of the store behind", n.Behind), "none", "look whether its machine is overloaded, and at its way to the store"))
		default:
			out = append(out, ok(check, subject, "live"))
		}
	}
	return out
}

// migrateSetting is where Linux says whether connections that wait at a listening socket
// go to another one when it is closed.
const migrateSetting = "net/ipv4/tcp_migrate_req"

// judgeReloads says what a reload costs, by the setting of this machine's kernel; nil: it
// cannot be told.
func judgeReloads(setting []byte) []Finding {
	const check, subject = "reload", "net.ipv4.tcp_migrate_req"
	switch strings.TrimSpace(string(setting)) {
	case "1":
		return []Finding{ok(check, subject, "1")}
	case "0":
		return []Finding{finding(Note, check, subject, "0: connections that wait to be accepted are reset when Caddy reloads its configuration", "1",
			"`sysctl -w net.ipv4.tcp_migrate_req=1`, and a line in /etc/sysctl.d to keep it")}
	}
	return nil
}

func (o Options) gatherReloads() []byte {
	setting, err := os.ReadFile(filepath.Join(o.Kernel, migrateSetting))
	if err != nil {
		return nil // another system, or an old kernel
	}
	return setting
}
