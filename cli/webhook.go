package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Where the admin endpoint tells of webhooks: GET WebhooksPath answers WebhookList, POST
// WebhookTestPath?url= WebhookTests, POST WebhookReplayPath?url=&id=&since= WebhookReplay.
const (
	WebhooksPath      = "/apoxy/webhooks"
	WebhookTestPath   = WebhooksPath + "/test"
	WebhookReplayPath = WebhooksPath + "/replay"
)

// WebhookList is what is known of the configured endpoints.
type WebhookList struct {
	Webhooks []WebhookStatus `json:"webhooks"`
}

// WebhookStatus is what is known of one endpoint.
type WebhookStatus struct {
	// URL without its query, which may be a secret.
	URL string `json:"url"`
	// Events are the types that it is told of; none: all.
	Events []string `json:"events,omitempty"`
	// Waiting is how many deliveries wait, GivenUp how many are kept for replay.
	Waiting int `json:"waiting"`
	GivenUp int `json:"givenUp"`
	// Gone is since when nothing is sent, because it answered 410.
	Gone        time.Time `json:"gone,omitzero"`
	LastSuccess time.Time `json:"lastSuccess,omitzero"`
	LastFailure time.Time `json:"lastFailure,omitzero"`
	// Reason is that of the last failure.
	Reason string `json:"reason,omitempty"`
	// Next is when the next try is due.
	Next time.Time `json:"next,omitzero"`
}

// Add adds what another node knows of the same endpoint: what waits there, and what
// happened there last.
func (w *WebhookStatus) Add(other WebhookStatus) {
	w.Waiting += other.Waiting
	w.GivenUp += other.GivenUp
	if other.LastSuccess.After(w.LastSuccess) {
		w.LastSuccess = other.LastSuccess
	}
	if other.LastFailure.After(w.LastFailure) {
		w.LastFailure, w.Reason = other.LastFailure, other.Reason
	}
	if w.Gone.IsZero() {
		w.Gone = other.Gone
	}
	if !other.Next.IsZero() && (w.Next.IsZero() || other.Next.Before(w.Next)) {
		w.Next = other.Next
	}
}

// WebhookTests is what became of a test.
type WebhookTests struct {
	Tests []WebhookTest `json:"tests"`
}

// WebhookTest is what became of the test of one endpoint.
type WebhookTest struct {
	URL string `json:"url"`
	// Status is the answer's; 0: there was none.
	Status int `json:"status,omitempty"`
	// Took is how long it took, in milliseconds.
	Took int64 `json:"tookMilliseconds"`
	// Reason why it failed; empty: it was taken.
	Reason string `json:"reason,omitempty"`
}

// WebhookReplay is what a replay did.
type WebhookReplay struct {
	// Queued is how many deliveries were queued again.
	Queued int `json:"queued"`
}

// WebhookCommand returns the command "webhook" with what is below it. It prints its
// own errors, one line each on Stderr.
func WebhookCommand(env Env) *cobra.Command {
	env = env.withDefaults()
	root := &cobra.Command{
		Use:   "webhook",
		Short: "Tests, lists and replays webhooks",
		Long: `Works on the webhooks of the running Caddy: the endpoints that its configuration
has told of what happens to records.

Exit status: 0 done, 1 failed, 2 wrong usage.`,
	}
	finishGroup(env, root)
	root.AddCommand(webhookTest(env), webhookList(env), webhookReplay(env))
	for _, cmd := range root.Commands() {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	return root
}

func webhookTest(env Env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test [URL]",
		Short: "Sends a signed event of the type apoxy.test to all endpoints, or to one, now",
		Example: `  caddy apoxy webhook test
  caddy apoxy webhook test https://app.example.net/hooks`,
	}
	return finish(env, cmd, func(ctx context.Context, c *client, args []string) error {
		if len(args) > 1 {
			return usagef("test takes one URL at most, got %d", len(args))
		}
		q := url.Values{}
		if len(args) == 1 {
			q.Set("url", args[0])
		}
		var out WebhookTests
		if _, err := c.read(ctx, request{method: http.MethodPost, path: WebhookTestPath + "?" + q.Encode()}, &out); err != nil {
			return err
		}
		failed := 0
		for _, t := range out.Tests {
			what := fmt.Sprintf("taken with %d", t.Status)
			if t.Reason != "" {
				failed++
				what = "failed: " + harmless(t.Reason)
			}
			fmt.Fprintf(env.Stdout, "%s %s, %d ms\n", harmless(t.URL), what, t.Took)
		}
		if failed > 0 {
			return fmt.Errorf("%d of %d webhooks did not take the test: mend what is said of each above", failed, len(out.Tests))
		}
		return nil
	}, true)
}

func webhookList(env Env) *cobra.Command {
	format := ""
	cmd := &cobra.Command{
		Use:   "list",
		Short: "Tells of each endpoint what waits for it and how the last deliveries went",
		Example: `  caddy apoxy webhook list
  caddy apoxy webhook list -o json`,
	}
	cmd.Flags().StringVarP(&format, "output", "o", "", "json, for programs")
	return finish(env, cmd, func(ctx context.Context, c *client, args []string) error {
		if len(args) > 0 {
			return usagef("list takes no argument, got %s", quote(args[0]))
		}
		if format != "" && format != "json" {
			return usagef("-o %s: expected json", quote(format))
		}
		var out WebhookList
		if _, err := c.read(ctx, request{method: http.MethodGet, path: WebhooksPath}, &out); err != nil {
			return err
		}
		if format == "json" {
			e := json.NewEncoder(env.Stdout)
			e.SetIndent("", "  ")
			return e.Encode(out)
		}
		if len(out.Webhooks) == 0 {
			fmt.Fprintln(env.Stdout, "the configuration has no webhook")
		}
		for _, w := range out.Webhooks {
			w.print(env.Stdout)
		}
		return nil
	}, true)
}

func (w WebhookStatus) print(out io.Writer) {
	stamp := func(t time.Time) string {
		if t.IsZero() {
			return "none is known of"
		}
		return t.UTC().Format(time.RFC3339)
	}
	state := "well"
	switch {
	case !w.Gone.IsZero():
		state = "it answered 410 Gone at " + stamp(w.Gone) + ": nothing is sent until a test or a replay takes it up again"
	case w.LastFailure.After(w.LastSuccess):
		state = "failing"
	case w.LastSuccess.IsZero():
		state = "nothing was sent yet"
	}
	if w.Waiting > 0 && !w.Next.IsZero() {
		state += ", next try " + stamp(w.Next)
	}
	events, failure := "all", stamp(w.LastFailure)
	if len(w.Events) > 0 {
		events = strings.Join(w.Events, " ")
	}
	if w.Reason != "" {
		failure += ": " + w.Reason
	}
	fmt.Fprintf(out, "%s\n  state:         %s\n  events:        %s\n  waiting:       %d\n  given up:      %d\n  last success:  %s\n  last failure:  %s\n",
		harmless(w.URL), state, harmless(events), w.Waiting, w.GivenUp, stamp(w.LastSuccess), harmless(failure))
}

func webhookReplay(env Env) *cobra.Command {
	var since, endpoint string
	cmd := &cobra.Command{
		Use:   "replay [ID]",
		Short: "Queues again what was given up, and has what failed tried now",
		Example: `  caddy apoxy webhook replay
  caddy apoxy webhook replay --since 24h --url https://app.example.net/hooks
  caddy apoxy webhook replay msg_6HYT2PZ7QJQ2V3C4M5N6`,
	}
	cmd.Flags().StringVar(&since, "since", "", "only what was queued since: a time such as 2026-02-01T12:00:00Z, or how long ago, such as 24h")
	cmd.Flags().StringVar(&endpoint, "url", "", "only what is for this endpoint")
	return finish(env, cmd, func(ctx context.Context, c *client, args []string) error {
		if len(args) > 1 {
			return usagef("replay takes one ID at most, got %d", len(args))
		}
		q := url.Values{}
		if len(args) == 1 {
			q.Set("id", args[0])
		}
		if endpoint != "" {
			q.Set("url", endpoint)
		}
		if since != "" {
			at, err := time.Parse(time.RFC3339, since)
			if ago, agoErr := time.ParseDuration(since); agoErr == nil && ago >= 0 {
				at, err = env.Now().Add(-ago), nil
			}
			if err != nil {
				return usagef("--since %s: expected a time such as 2026-02-01T12:00:00Z, or how long ago, such as 24h", quote(since))
			}
			q.Set("since", at.UTC().Format(time.RFC3339Nano))
		}
		var out WebhookReplay
		if _, err := c.read(ctx, request{method: http.MethodPost, path: WebhookReplayPath + "?" + q.Encode()}, &out); err != nil {
			return err
		}
		fmt.Fprintf(env.Stdout, "%d webhook deliveries queued again\n", out.Queued)
		return nil
	}, true)
}
