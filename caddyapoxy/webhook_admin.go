package caddyapoxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/cli"
	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

// webhookRoutes are the paths by which operators work on webhooks.
func (a *AdminAPI) webhookRoutes() []caddy.AdminRoute {
	route := func(path, method string, serve func(*runtime, *http.Request) (any, error)) caddy.AdminRoute {
		return caddy.AdminRoute{Pattern: path, Handler: caddy.AdminHandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
			if r.Method != method {
				w.Header().Set("Allow", method)
				return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: fmt.Errorf("%s: %s takes %s", r.Method, path, method)}
			}
			rt, err := runtimeInForce(r.Context())
			if err != nil {
				return unavailable(w, err.Error())
			}
			answer, err := serve(rt, r)
			if err != nil {
				return refuseWebhook(w, err)
			}
			w.Header().Set("Content-Type", "application/json")
			if err := json.NewEncoder(w).Encode(answer); err != nil {
				return fmt.Errorf("answering %s: %w", path, err)
			}
			return nil
		})}
	}
	return []caddy.AdminRoute{
		route(cli.WebhooksPath, http.MethodGet, listWebhooks),
		route(cli.WebhookTestPath, http.MethodPost, testWebhooks),
		route(cli.WebhookReplayPath, http.MethodPost, replayWebhooks),
	}
}

// listWebhooks tells of the endpoints, and of what waits for them on all nodes.
func listWebhooks(rt *runtime, r *http.Request) (any, error) {
	out := cli.WebhookList{Webhooks: rt.webhookStatus()}
	rt.askOthers(r.Context(), askWebhooks, "", func(value json.RawMessage) error {
		var theirs []cli.WebhookStatus
		if err := json.Unmarshal(value, &theirs); err != nil {
			return err
		}
		for _, w := range theirs {
			if i := slices.IndexFunc(out.Webhooks, func(own cli.WebhookStatus) bool { return own.URL == w.URL }); i >= 0 {
				out.Webhooks[i].Add(w)
			}
		}
		return nil
	})
	return out, nil
}

// webhookStatus is what this node knows of the endpoints.
func (rt *runtime) webhookStatus() []cli.WebhookStatus {
	out := []cli.WebhookStatus{}
	for _, w := range rt.webhooks.List() {
		out = append(out, cli.WebhookStatus{
			URL: w.URL, Events: w.Events, Waiting: w.Waiting, GivenUp: w.GivenUp, Gone: w.Gone,
			LastSuccess: w.LastSuccess, LastFailure: w.LastFailure, Reason: w.Reason, Next: w.Next,
		})
	}
	return out
}

func testWebhooks(rt *runtime, r *http.Request) (any, error) {
	tested, err := rt.webhooks.Test(r.Context(), r.URL.Query().Get("url"))
	if err != nil {
		return nil, err
	}
	var out cli.WebhookTests
	for _, t := range tested {
		out.Tests = append(out.Tests, cli.WebhookTest{URL: t.URL, Status: t.Status, Took: t.Took.Milliseconds(), Reason: t.Reason})
	}
	return out, nil
}

// errReplaySince: the parameter since is no time.
var errReplaySince = errors.New("since: expected a time such as 2026-02-01T12:00:00Z")

// replayWebhooks queues again what each node has of it.
func replayWebhooks(rt *runtime, r *http.Request) (any, error) {
	q := r.URL.Query()
	which := webhook.Selection{URL: q.Get("url"), ID: q.Get("id")}
	if text := q.Get("since"); text != "" {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return nil, fmt.Errorf("%w, got %.100q", errReplaySince, text)
		}
		which.Since = at
	}
	n, err := rt.webhooks.Replay(r.Context(), which)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(which)
	if err != nil {
		return nil, err
	}
	rt.askOthers(r.Context(), askReplay, string(text), func(value json.RawMessage) error {
		var theirs int
		err := json.Unmarshal(value, &theirs)
		n += theirs
		return err
	})
	return cli.WebhookReplay{Queued: n}, nil
}

// replayHere queues again what this node has of a webhook.Selection in JSON.
func (rt *runtime) replayHere(ctx context.Context, selection string) (int, error) {
	var which webhook.Selection
	if err := json.Unmarshal([]byte(selection), &which); err != nil {
		return 0, fmt.Errorf("reading what is to be replayed: %w", err)
	}
	return rt.webhooks.Replay(ctx, which)
}

// refuseWebhook answers with an error in the shape of the API's.
func refuseWebhook(w http.ResponseWriter, err error) error {
	status := metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Message: err.Error(),
		Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable,
	}
	switch {
	case errors.Is(err, webhook.ErrNoEndpoint):
		status.Code, status.Reason = http.StatusNotFound, metav1.StatusReasonNotFound
	case errors.Is(err, errReplaySince):
		status.Code, status.Reason = http.StatusBadRequest, metav1.StatusReasonBadRequest
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(int(status.Code))
	if err := json.NewEncoder(w).Encode(status); err != nil {
		return fmt.Errorf("answering that there is no such webhook: %w", err)
	}
	return nil
}
