package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A disk loses one bit of one record while the product is down. All others are
// served as before, and the one is named by the log, the doctor and verify,
// online and offline, until it is deleted by its name and created again.
func TestOneDamagedRecordHarmsItselfAlone(t *testing.T) {
	n := network(t)
	p := start(t, n, settings{})
	customer := customer(t, n, "bitrot")
	good, bad := "good."+customer.name, "bad."+customer.name
	customer.set(t, p.create(t, good, false).line(t, "Traffic"), p.create(t, bad, false).line(t, "Traffic"))
	var uid string
	for _, host := range []string{good, bad} {
		uid = p.await(t, host, 30*time.Second, "the proof", is("phase=Active", "OwnershipVerified=True/CNAMEConfigured")).Metadata.UID
		p.awaitServed(t, host)
	}
	sound := p.verify(t, 0, "--config", p.config())
	if !strings.Contains(sound, "is sound") {
		t.Errorf("online, of a sound store: %s", sound)
	}
	p.stop(t)
	spoil(t, filepath.Join(p.dir, "apoxy.db"), "domainrecords/"+bad)

	key := `"domainrecords/` + bad + `": its checksum does not hold; mend: `
	for _, args := range [][]string{{"--config", p.config()}, {"--store", "bolt " + filepath.Join(p.dir, "apoxy.db")}} {
		if out := p.verify(t, 1, args...); !strings.Contains(out, key) || !strings.Contains(out, "has faults: 1, among") {
			t.Errorf("offline with %q: %s", args, out)
		}
	}
	p.run(t)

	p.awaitServed(t, good)
	if status, _, err := p.plain(t.Context(), bad); err != nil || status != http.StatusMisdirectedRequest {
		t.Errorf("the damaged record's host is answered %d, %v; want 421", status, err)
	}
	status, body, err := fetch(t.Context(), http.DefaultClient, adminURL+recordsPath+"/"+bad, "")
	if err != nil || status != http.StatusInternalServerError || !strings.Contains(body, `"reason":"InternalError"`) ||
		!strings.Contains(body, "damaged") || !strings.Contains(body, "store verify") || strings.Contains(body, uid[1:]) {
		t.Errorf("GET: %d %s, %v", status, body, err)
	}
	out, err := p.kubectl(t.Context(), "", "get", "dr", "-o", "name")
	if err != nil || !strings.Contains(out, good) || strings.Contains(out, bad) {
		t.Errorf("kubectl lists %q, %v", out, err)
	}
	if log := p.proc.Log(); !bytes.Contains(log, []byte("a stored value is damaged")) || !bytes.Contains(log, []byte("domainrecords/"+bad)) {
		t.Errorf("the log does not name it:\n%s", p.proc.Tail(4000))
	}
	if out, _ := p.caddy(t.Context(), "", "apoxy", "doctor"); !strings.Contains(out, "WRONG  store") || !strings.Contains(out, "1 of them cannot be used") {
		t.Errorf("the doctor tells nothing of it:\n%s", out)
	}
	for _, args := range [][]string{{"--config", p.config()}, {"--address", strings.TrimPrefix(adminURL, "http://")}} {
		if out := p.verify(t, 1, args...); !strings.Contains(out, key) {
			t.Errorf("online with %q: %s", args, out)
		}
	}
	if err := call(t.Context(), http.MethodPost, recordsPath, manifest(bad, false), nil); err == nil || !strings.Contains(err.Error(), "status 409") {
		t.Errorf("creating it beside the damaged one: %v, want 409", err)
	}

	if out, err := p.kubectl(t.Context(), "", "delete", "dr", bad, "--timeout=20s"); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	p.create(t, bad, false)
	p.await(t, bad, 30*time.Second, "the proof", is("phase=Active", "OwnershipVerified=True/CNAMEConfigured"))
	p.awaitServed(t, bad)
	if out := p.verify(t, 0, "--config", p.config()); !strings.Contains(out, "is sound") {
		t.Errorf("after mending: %s", out)
	}
	if out, _ := p.caddy(t.Context(), "", "apoxy", "doctor"); !strings.Contains(out, "none is known to be damaged") {
		t.Errorf("the doctor after mending:\n%s", out)
	}
}

// awaitServed waits until a host is served by ours.
func (p *product) awaitServed(t *testing.T, host string) {
	t.Helper()
	eventually(t, 20*time.Second, host+" to be served", func() error {
		status, body, err := p.plain(t.Context(), host)
		if err != nil || status != http.StatusOK || body != ours {
			return fmt.Errorf("answered %d %q, %v", status, body, err)
		}
		return nil
	})
}

// verify runs store verify, which must end with an exit status, and returns what
// it printed.
func (p *product) verify(t *testing.T, want int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := p.caddy(ctx, "", append([]string{"apoxy", "store", "verify"}, args...)...)
	if got := exitStatus(err); got != want {
		t.Errorf("verify %q ended with %d, want %d: %v\n%s", args, got, want, err, out)
	}
	return out
}

// spoil changes a bit in the value of every copy of an entry in a bolt file: in a leaf the
// value follows its key, and begins with the revision, whose two highest bits say that
// what comes after the checksum is packed.
func spoil(t *testing.T, path, key string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const head, into = "\xc0\x00\x00\x00", 40 // of the revision; bytes from its beginning
	spoilt := 0
	for at := 0; ; {
		found := bytes.Index(data[at:], []byte(key+head))
		if found < 0 {
			break
		}
		at += found + len(key)
		data[at+into] ^= 1
		spoilt++
	}
	if spoilt == 0 {
		t.Fatalf("%s does not hold %q with a packed value", path, key)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}
