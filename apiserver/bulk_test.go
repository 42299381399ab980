package apiserver

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/apoxy-dev/caddy-apoxy/api/v1alpha3"
)

// bulk sends lines in one request and returns the answer to each.
func (w *world) bulk(query string, lines ...string) []ItemResult {
	w.t.Helper()
	a := w.call("PATCH", base+"?fieldManager=test&"+query, strings.Join(lines, "\n"), "Content-Type", typeApplyStream).want(200)
	var all []ItemResult
	for line := range strings.Lines(string(a.body)) {
		var r ItemResult
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			w.t.Fatalf("%s: %v", line, err)
		}
		all = append(all, r)
	}
	return all
}

func told(r ItemResult) string {
	if r.Status != nil {
		return fmt.Sprintf("%d %s: %d %s", r.Item, r.Name, r.Status.Code, r.Status.Reason)
	}
	return fmt.Sprintf("%d %s %s", r.Item, r.Name, r.Outcome)
}

func line(name, more string) string {
	return fmt.Sprintf(`{"metadata":{%s},"spec":{"name":%q,"tls":{},"target":{"ref":{"kind":"Gateway","name":"default"}}}}`, more, name)
}

func (w *world) wantBulk(query string, lines []string, want ...string) []ItemResult {
	w.t.Helper()
	got := w.bulk(query, lines...)
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || told(got[i]) != want[i] {
			w.t.Fatalf("item %d: got %+v, want %q", i+1, got, want)
		}
	}
	return got
}

// TestApplyStreamAnswersEachItem: each is applied as if it had come alone.
func TestApplyStreamAnswersEachItem(t *testing.T) {
	w := newWorld(t)
	w.create("held.example.com", `"name":"other--ref"`)
	lines := []string{
		line("a.example.com", ""),
		line("B.Example.com.", `"labels":{"x":"1"}`),
		"",
		`{"spec":`,
		line("localhost", ""),
		line("*.w.example.com", ""),
		line("a.example.com", `"labels":{"x":"2"}`),
		line("held.example.com", ""),
		line("held.example.com", `"name":"mine"`),
		`{"metadata":{"name":"c.example.com"},"spec":{"name":"c.example.com","target":{"ref":{"kind":"Gateway","name":"x"}},"zone":"z"}}`,
		`{"spec":{"tls":{}}}`,
	}
	got := w.wantBulk("", lines, "1 a.example.com created", "2 b.example.com created", "3 : 400 BadRequest", "4 localhost: 422 Invalid",
		"5 w.example.com--wildcard created", "6 a.example.com configured", "7 other--ref configured", "8 other--ref unchanged",
		"9 c.example.com created", "10 : 422 Invalid")
	if ws := got[8].Warnings; len(ws) == 0 || !strings.Contains(ws[0], "spec.zone") {
		t.Errorf("an unknown field: %q", ws)
	}
	if ws := got[7].Warnings; len(ws) != 1 || !strings.Contains(ws[0], "other--ref") {
		t.Errorf("a name that is not the record's: %q", ws)
	}
	if cause := got[3].Status.Details.Causes[0].Field; cause != "spec.name" {
		t.Errorf("the field is %q", cause)
	}
	r := w.call("GET", base+"/a.example.com", "").want(200).record()
	if r.Labels["x"] != "2" || r.ResourceVersion != got[5].ResourceVersion || len(r.ManagedFields) != 1 || r.ManagedFields[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Errorf("stored %+v", r.ObjectMeta)
	}
	single := w.call("PATCH", base+"/d.example.com?fieldManager=test", line("d.example.com", ""), "Content-Type", typeApply).want(201).record()
	many := w.wantBulk("", []string{line("e.example.com", "")}, "1 e.example.com created")
	e := w.call("GET", base+"/e.example.com", "").want(200).record()
	if !sameManagers(single.ManagedFields, e.ManagedFields) || many[0].ResourceVersion != e.ResourceVersion {
		t.Errorf("alone %+v, among others %+v", single.ManagedFields, e.ManagedFields)
	}
	w.wantBulk("fieldValidation=Strict&force=true", lines[9:10], "1 c.example.com: 400 BadRequest")
	w.wantBulk("dryRun=All", []string{line("f.example.com", "")}, "1 f.example.com created")
	w.call("GET", base+"/f.example.com", "").want(404)
}

func TestApplyStreamConflictsAreOfTheirItemAlone(t *testing.T) {
	w := newWorld(t)
	w.create("a.example.com")
	other := strings.ReplaceAll(line("a.example.com", ""), "default", "another")
	got := w.wantBulk("", []string{other, line("b.example.com", "")}, "1 a.example.com: 409 Conflict", "2 b.example.com created")
	if got[0].Status.Details.Causes[0].Field != ".spec.target.ref.name" {
		t.Errorf("causes %+v", got[0].Status.Details.Causes)
	}
	w.wantBulk("force=true", []string{other}, "1 a.example.com configured")
	owned := line("a.example.com", fmt.Sprintf(`"name":"thief","labels":{%q:"thief"}`, v1alpha3.OwnerLabel))
	w.wantBulk("force=true", []string{owned}, "1 thief: 409 AlreadyExists")
}

func TestApplyStreamRefusals(t *testing.T) {
	w := newWorld(t, func(c *Config) { c.Limits.Record = 4 << 10 })
	w.call("PATCH", base+"?fieldManager=test", "{}", "Content-Type", typeMerge).status(405, metav1.StatusReasonMethodNotAllowed)
	w.call("PATCH", base, "{}", "Content-Type", typeApplyStream).status(422, metav1.StatusReasonInvalid)
	most := w.s.objectBounds().content
	w.wantBulk("", []string{line("a.example.com", ""), strings.Repeat("x", most+1), line("b.example.com", "")},
		"1 a.example.com created", "2 : 413 RequestEntityTooLarge")
	for range maxStreams {
		w.s.streams <- struct{}{}
	}
	w.call("PATCH", base+"?fieldManager=test", "", "Content-Type", typeApplyStream).status(429, metav1.StatusReasonTooManyRequests)
}

// TestApplyStreamIsAnsweredWhileItIsRead: who sends one after the answer to the one before
// gets every answer, and the end when the server stops.
func TestApplyStreamIsAnsweredWhileItIsRead(t *testing.T) {
	w := newWorld(t)
	body, send := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), "PATCH", w.http.URL+base+"?fieldManager=test", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", typeApplyStream)
	res, err := w.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answers := bufio.NewReader(res.Body)
	next := func() (r ItemResult) {
		t.Helper()
		got, err := answers.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(got, &r)
		}
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	for i := range 5 {
		name := fmt.Sprintf("n%d.example.com", i)
		if _, err := io.WriteString(send, line(name, "")+"\n"); err != nil {
			t.Fatal(err)
		}
		if r := next(); r.Name != name || r.Outcome != outcomeCreated {
			t.Fatalf("%+v", r)
		}
	}
	w.s.Close()
	if r := next(); r.Item != 6 || r.Status == nil || r.Status.Code != 503 {
		t.Errorf("at the end: %+v", r)
	}
	if _, err := answers.ReadByte(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	send.Close()
}

// TestApplyStreamOfMany: more than may be on their way at a time, in their order.
func TestApplyStreamOfMany(t *testing.T) {
	w := newWorld(t)
	var lines, want []string
	for i := range 3000 {
		name := fmt.Sprintf("n%d.example.com", i%2000)
		what := outcomeCreated
		if i >= 2000 {
			what = outcomeUnchanged
		}
		lines, want = append(lines, line(name, "")), append(want, fmt.Sprintf("%d %s %s", i+1, name, what))
	}
	w.wantBulk("", lines, want...)
}
