package domainconnect

import (
	"context"
	"fmt"
	"net/http"
)

// maxRecords bounds the TXT records of one zone that are tried.
const maxRecords = 2

// discover finds out what the DNS provider of a zone (without the final dot) offers for
// a service. errNotOffered: it does not offer it; another error: could not tell.
func discover(ctx context.Context, cfg *Config, a *asker, zone string, s Service) (Offer, error) {
	texts, err := cfg.DNS.Texts(ctx, "_domainconnect."+zone+".")
	if err != nil {
		return Offer{}, err
	}
	err = fmt.Errorf("%w: the zone has no _domainconnect record", errNotOffered)
	tried := 0
	for _, text := range texts {
		at, wrong := settingsURL(text, zone)
		if wrong != nil {
			continue // nor would one of another service be a record of this kind
		}
		if tried++; tried > maxRecords {
			break
		}
		var o Offer
		if o, err = a.ask(ctx, at, s); err == nil {
			return o, nil
		}
	}
	return Offer{}, err
}

// ask asks a provider for its settings of a zone and whether it has the template.
func (a *asker) ask(ctx context.Context, settingsAt string, s Service) (Offer, error) {
	body, err := a.expectFound(ctx, settingsAt)
	if err != nil {
		return Offer{}, err
	}
	found, err := readSettings(body)
	if err != nil {
		return Offer{}, err
	}
	if _, err := a.expectFound(ctx, found.api+s.path()); err != nil {
		return Offer{}, err
	}
	return Offer{SyncUX: found.syncUX}, nil
}

// expectFound returns the body of a 2xx. A 404 is an answer: errNotOffered.
func (a *asker) expectFound(ctx context.Context, url string) ([]byte, error) {
	status, body, err := a.get(ctx, url)
	switch {
	case err != nil:
		return nil, err
	case status == http.StatusNotFound:
		return nil, fmt.Errorf("%w: the provider does not have it", errNotOffered)
	case status < 200 || status > 299:
		return nil, fmt.Errorf("asking the provider: it answers %d", status)
	}
	return body, nil
}
