package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	apiVersion  = "core.apoxy.dev/v1alpha3"
	recordsPath = "/apis/core.apoxy.dev/v1alpha3/domainrecords"
)

// record is as much of a DomainRecord as the tests look at.
type record struct {
	Metadata struct {
		Name            string `json:"name"`
		UID             string `json:"uid"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Status struct {
		Phase       string       `json:"phase"`
		DNSRecords  []wanted     `json:"dnsRecords"`
		Certificate *certificate `json:"certificate"`
		Conditions  []condition  `json:"conditions"`
	} `json:"status"`
}

type wanted struct {
	Purpose    string   `json:"purpose"`
	Type       string   `json:"type"`
	Name       string   `json:"name"`
	Value      string   `json:"value"`
	Zone       string   `json:"zone"`
	Host       string   `json:"host"`
	Observed   []string `json:"observed"`
	Configured bool     `json:"configured"`
}

type certificate struct {
	SerialNumber string    `json:"serialNumber"`
	NotBefore    time.Time `json:"notBefore"`
	NotAfter     time.Time `json:"notAfter"`
	RenewalTime  time.Time `json:"renewalTime"`
	Challenge    string    `json:"challenge"`
	Source       string    `json:"source"`
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// wanted is the DNS record to create for a purpose; without one its type is empty.
func (r record) wanted(purpose string) wanted {
	for _, w := range r.Status.DNSRecords {
		if w.Purpose == purpose {
			return w
		}
	}
	return wanted{Purpose: purpose}
}

// line is the DNS record to create for a purpose, as a line of a zone file.
func (r record) line(t *testing.T, purpose string) string {
	t.Helper()
	w := r.wanted(purpose)
	if w.Type == "" {
		t.Fatalf("dnsRecords of %s has no %s: %+v", r.Metadata.Name, purpose, r.Status.DNSRecords)
	}
	return w.Name + " " + w.Type + " " + w.Value
}

// condition is the condition of a type; without one its status is empty.
func (r record) condition(kind string) condition {
	for _, c := range r.Status.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return condition{Type: kind}
}

// is demands conditions of a record, written "TLSReady=True" or
// "TLSReady=True/CertificateIssued", or "phase=Active".
func is(demands ...string) func(record) error {
	return func(r record) error {
		for _, demand := range demands {
			kind, want, _ := strings.Cut(demand, "=")
			c := r.condition(kind)
			got := c.Status
			if kind == "phase" {
				got = r.Status.Phase
			} else if strings.Contains(want, "/") {
				got += "/" + c.Reason
			}
			if got != want {
				return fmt.Errorf("%s is %s, want %s (phase %s, conditions %+v)", kind, got, want, r.Status.Phase, r.Status.Conditions)
			}
		}
		return nil
	}
}

// manifest is a DomainRecord for a hostname.
func manifest(hostname string, tls bool, changes ...func(spec map[string]any)) map[string]any {
	spec := map[string]any{
		"name":   hostname,
		"target": map[string]any{"ref": map[string]any{"group": "gateway.apoxy.dev", "kind": "Gateway", "name": "default"}},
	}
	if tls {
		spec["tls"] = map[string]any{}
	}
	for _, change := range changes {
		change(spec)
	}
	return map[string]any{
		"apiVersion": apiVersion, "kind": "DomainRecord",
		"metadata": map[string]any{"name": hostname}, "spec": spec,
	}
}

// call sends a request to the admin API and decodes a successful answer into to.
func call(ctx context.Context, method, path string, body, to any) error {
	var content io.Reader = http.NoBody
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		content = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, adminURL+path, content)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("%s %s: status %d: %s", method, path, answer.StatusCode, text)
	}
	if to == nil {
		return nil
	}
	return json.Unmarshal(text, to)
}

// create makes a record and waits until the controller has looked at it once.
func (p *product) create(t *testing.T, hostname string, tls bool, changes ...func(spec map[string]any)) record {
	t.Helper()
	if err := call(t.Context(), http.MethodPost, recordsPath, manifest(hostname, tls, changes...), nil); err != nil {
		t.Fatal(err)
	}
	return p.await(t, hostname, 15*time.Second, "the first look", func(r record) error {
		if status := r.condition("CNAMEConfigured").Status; status == "" || status == "Unknown" {
			return fmt.Errorf("CNAMEConfigured is %q", status)
		}
		return nil
	})
}

func (p *product) get(ctx context.Context, name string) (record, error) {
	var r record
	err := call(ctx, http.MethodGet, recordsPath+"/"+name, nil, &r)
	return r, err
}

// check has the product look at the record now.
func (p *product) check(t *testing.T, name string) record {
	t.Helper()
	var r record
	if err := call(t.Context(), http.MethodPost, recordsPath+"/"+name+"/check", nil, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func (p *product) delete(t *testing.T, name string) {
	t.Helper()
	if err := call(t.Context(), http.MethodDelete, recordsPath+"/"+name, nil, nil); err != nil {
		t.Fatal(err)
	}
}

// names lists the names of all records.
func (p *product) names(t *testing.T) []string {
	t.Helper()
	var list struct{ Items []record }
	if err := call(t.Context(), http.MethodGet, recordsPath, nil, &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, r := range list.Items {
		names = append(names, r.Metadata.Name)
	}
	slices.Sort(names)
	return names
}

// await watches a record until cond holds.
func (p *product) await(t *testing.T, name string, limit time.Duration, what string, cond func(record) error) record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var last error
	for {
		r, err := p.get(ctx, name)
		if err == nil {
			if last = cond(r); last == nil {
				return r
			}
			err = nextEvent(ctx, r)
		}
		if ctx.Err() != nil {
			t.Fatalf("waiting %v for %s of %s: %v", limit, what, name, last)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// nextEvent returns when the record has changed from what r holds, or the watch
// has ended.
func nextEvent(ctx context.Context, r record) error {
	query := url.Values{
		"watch":           {"true"},
		"fieldSelector":   {"metadata.name=" + r.Metadata.Name},
		"resourceVersion": {r.Metadata.ResourceVersion},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, adminURL+recordsPath+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var event struct {
		Type   string
		Object json.RawMessage
	}
	if err := json.NewDecoder(answer.Body).Decode(&event); err == io.EOF {
		return nil
	} else if err != nil {
		return fmt.Errorf("watching %s: %w", r.Metadata.Name, err)
	}
	if event.Type == "ERROR" {
		return fmt.Errorf("watching %s: %s", r.Metadata.Name, event.Object)
	}
	return nil
}
