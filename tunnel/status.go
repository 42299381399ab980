package tunnel

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// AgentStatus is what the edge knows of one agent.
type AgentStatus struct {
	Name, ID, Version string
	// Since is when the oldest of its connections began.
	Since time.Time
	// RoundTrip is the least that was measured on any of them.
	RoundTrip time.Duration
	// Connections is how many it has.
	Connections int
	// Origin says why its origin does not answer; empty: it does.
	Origin string
}

// Agents lists the connected agents, the oldest first.
func (h *Hub) Agents() []AgentStatus {
	var all []AgentStatus
	for _, c := range *h.live.Load() {
		i := slices.IndexFunc(all, func(a AgentStatus) bool { return a.ID == c.id && a.Name == c.agent })
		if i < 0 {
			i, all = len(all), append(all, AgentStatus{Name: c.agent, ID: c.id, Version: c.version, Since: c.since})
		}
		a := &all[i]
		a.Connections++
		if c.since.Before(a.Since) {
			a.Since = c.since
		}
		if d := time.Duration(c.rtt.Load()); a.RoundTrip == 0 || d < a.RoundTrip {
			a.RoundTrip = d
		}
		if why := c.ill.Load(); why != nil {
			a.Origin = *why
		}
	}
	slices.SortFunc(all, func(a, b AgentStatus) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Health tells whether a request would be answered: an agent is connected and its
// origin answers. message is a sentence without a final full stop, which changes
// only when something does.
func (h *Hub) Health() (well bool, message string) {
	h.mu.Lock()
	left := h.lastLeft
	h.mu.Unlock()
	return health(h.Agents(), left)
}

// health is Health of these agents; left is when the last one that left did so.
func health(agents []AgentStatus, left time.Time) (bool, string) {
	if len(agents) == 0 {
		if left.IsZero() {
			return false, "no agent is connected: start one beside the backend, with `caddy apoxy tunnel`"
		}
		return false, "no agent is connected since " + left.UTC().Format(time.RFC3339)
	}
	var well, ill []string
	for _, a := range agents {
		text := fmt.Sprintf("%s (version %s, since %s, round trip %s", cmp.Or(a.Name, "unnamed"), cmp.Or(a.Version, "unknown"),
			a.Since.UTC().Format(time.RFC3339), about(a.RoundTrip))
		if a.Origin == "" {
			well = append(well, text+")")
		} else {
			ill = append(ill, text+": "+a.Origin+")")
		}
	}
	if len(well) == 0 {
		return false, plural(len(ill), "agent is", "agents are") + " connected, but the backend does not answer: " + some(ill)
	}
	message := plural(len(well), "agent is", "agents are") + " connected: " + some(well)
	if len(ill) > 0 {
		message += "; the backend does not answer " + some(ill)
	}
	return true, message
}

// some are the first four, and how many more there are.
func some(texts []string) string {
	const most = 4
	if len(texts) <= most {
		return strings.Join(texts, ", ")
	}
	return fmt.Sprintf("%s, and %d more", strings.Join(texts[:most], ", "), len(texts)-most)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// about is a duration in steps of 1, 2 and 5, so that a message does not change
// with every measurement.
func about(d time.Duration) string {
	for step := time.Millisecond; step < time.Minute; step *= 10 {
		for _, f := range []time.Duration{1, 2, 5} {
			if d <= f*step {
				return "at most " + (f * step).String()
			}
		}
	}
	return "over a minute"
}
