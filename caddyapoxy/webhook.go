package caddyapoxy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
	"github.com/apoxy-dev/caddy-apoxy/controller"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

// maxWebhooks bounds the endpoints of a configuration: each event is kept once for each.
const maxWebhooks = 16

// Webhook is an endpoint that is told of events, as Standard Webhooks has it.
type Webhook struct {
	// Where each event is sent with POST: an https URL, or, for a receiver on this
	// machine or network, an http one. Required.
	URL string `json:"url,omitempty"`
	// What deliveries are signed with: whsec_ and base64, or any other text. Required;
	// several while one is being replaced.
	Secrets []string `json:"secrets,omitempty"`
	// The events that it is told of, such as apoxy.phase_changed. Default: all.
	Events []string `json:"events,omitempty"`
}

// webhookEvents are the events that there are.
func webhookEvents() []string {
	return []string{
		controller.EventConditionChanged, controller.EventPhaseChanged, controller.EventRecordDeleted,
		eventCertificateObtained, eventCertificateFailed, eventCertificateExpiring,
	}
}

// provisionWebhooks reads the endpoints. No error holds a secret.
func (a *App) provisionWebhooks(repl *caddy.Replacer) error {
	if len(a.Webhooks) > maxWebhooks {
		return fmt.Errorf("webhook: %d are configured: expected %d at most", len(a.Webhooks), maxWebhooks)
	}
	for _, w := range a.Webhooks {
		e, err := w.endpoint(repl)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(a.webhooks, func(o webhook.Endpoint) bool { return o.URL == e.URL }) {
			return fmt.Errorf("webhook: the URL of one stands twice: expected each once, with all its secrets and events")
		}
		if slices.ContainsFunc(e.Secrets, webhook.Secret.Weak) {
			a.logger.Warn("a webhook's secret is short: make it with `echo whsec_$(openssl rand -base64 32)`", zap.Int("least_bytes", webhook.StrongSecret))
		}
		a.webhooks = append(a.webhooks, e)
	}
	return nil
}

func (w Webhook) endpoint(repl *caddy.Replacer) (e webhook.Endpoint, err error) {
	if e.URL, err = expand(repl, "webhook", w.URL); err != nil {
		return e, err
	}
	if err := webhook.ParseURL(e.URL); err != nil {
		return e, fmt.Errorf("webhook: %w", err)
	}
	if err := w.check(); err != nil {
		return e, err
	}
	for i, text := range w.Secrets {
		text, err := repl.ReplaceOrErr(text, true, true)
		if err != nil {
			return e, fmt.Errorf("webhook: secret %d: %w: set it, or write the value out", i+1, err)
		}
		secret, err := webhook.ParseSecret(strings.TrimSpace(text)) // a file ends with a line's end
		if err != nil {
			return e, fmt.Errorf("webhook: secret %d: %w", i+1, err)
		}
		e.Secrets = append(e.Secrets, secret)
	}
	e.Events = w.Events
	return e, nil
}

// check says what is wrong before placeholders are expanded.
func (w Webhook) check() error {
	if !hasPlaceholder(w.URL) {
		if err := webhook.ParseURL(w.URL); err != nil {
			return fmt.Errorf("webhook: %w", err)
		}
	}
	if len(w.Secrets) == 0 {
		return errors.New("webhook: expected a secret to sign with, such as `secret {env.HOOK_SECRET}`")
	}
	for i, text := range w.Secrets {
		if hasPlaceholder(text) {
			continue
		}
		if _, err := webhook.ParseSecret(text); err != nil {
			return fmt.Errorf("webhook: secret %d: %w", i+1, err)
		}
	}
	for _, event := range w.Events {
		if !slices.Contains(webhookEvents(), event) {
			return fmt.Errorf("webhook: events: expected some of %s, got %.100q", strings.Join(webhookEvents(), ", "), event)
		}
	}
	return nil
}

// parseWebhook reads an endpoint. Syntax:
//
//	webhook <url> {
//		secret <secrets...>
//		events <names...>
//	}
//
// A block in one line comes here without its braces, see oneLineAdapter.
func (a *App) parseWebhook(d *caddyfile.Dispenser) error {
	var w Webhook
	if !d.NextArg() {
		return d.Err("webhook: expected a URL, such as `webhook https://app.example.net/hooks { … }`")
	}
	w.URL = d.Val()
	var to *[]string
	for d.NextArg() {
		if text := d.Val(); text == "secret" || text == "events" {
			to = w.option(text)
		} else if to == nil {
			return d.Errf("webhook: expected one URL, and secret or events in a block, got %.100q", text)
		} else {
			*to = append(*to, text)
		}
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		to, args := w.option(option), d.RemainingArgs()
		if to == nil {
			return d.Errf("webhook has no option %.100q: expected secret or events", option)
		}
		if len(args) == 0 {
			return d.Errf("webhook: %s: expected at least one", option)
		}
		*to = append(*to, args...)
	}
	if err := w.check(); err != nil {
		return d.WrapErr(err)
	}
	a.Webhooks = append(a.Webhooks, w)
	return nil
}

func (w *Webhook) option(name string) *[]string {
	switch name {
	case "secret":
		return &w.Secrets
	case "events":
		return &w.Events
	}
	return nil
}

// webhooksNow are the endpoints of the configuration in force.
func (rt *runtime) webhooksNow() []webhook.Endpoint {
	if a := rt.apps.Current(); a != nil {
		return a.webhooks
	}
	return nil
}

// newWebhooks is what tells them of events.
func (rt *runtime) newWebhooks(logger *zap.Logger) *webhook.Sender {
	return webhook.New(webhook.Config{
		Store: rt.store, Endpoints: rt.webhooksNow, Record: rt.recordJSON,
		Node: rt.nodeOfCluster, Takes: rt.takesOver,
		UserAgent: "caddy-apoxy/" + pluginVersion(), Logger: logger.Named("webhook"),
	})
}

// recordJSON is a record as it is now; nil: there is none.
func (rt *runtime) recordJSON(ctx context.Context, name string) (json.RawMessage, error) {
	kv, _, err := rt.store.Get(ctx, hosts.Prefix+name)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var r v1alpha3.DomainRecord
	if err := json.Unmarshal(kv.Value, &r); err != nil {
		return nil, fmt.Errorf("decoding record %s: %w", name, err)
	}
	return shownRecord(&r, kv.Revision), nil
}

// offer has webhooks told of a change.
func (rt *runtime) offer(t controller.Transition) {
	if !rt.webhooks.Wants(t.Event) {
		return
	}
	e := webhook.Event{
		Type: t.Event, At: time.Now(), Name: t.Name, Hostname: t.Hostname, Subject: t.Type,
		From: t.From, To: t.To, Reason: t.Reason, Message: t.Message, Once: t.Once,
	}
	if t.Record != nil {
		e.Record = shownRecord(t.Record, t.Revision)
	}
	rt.webhooks.Offer(e)
}

// shownRecord is a record as the API shows it, but for managedFields.
func shownRecord(r *v1alpha3.DomainRecord, revision int64) json.RawMessage {
	shown := *r
	shown.APIVersion, shown.Kind, shown.ManagedFields = v1alpha3.GroupVersion.String(), v1alpha3.Kind, nil
	if revision > 0 {
		shown.ResourceVersion = fmt.Sprint(revision)
	}
	out, err := json.Marshal(shown)
	if err != nil {
		return nil
	}
	return out
}
