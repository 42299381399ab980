package caddyapoxy

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/apiserver"
	"github.com/apoxy-dev/caddy-apoxy/certstorage"
	"github.com/apoxy-dev/caddy-apoxy/dnsprovider"
	"github.com/apoxy-dev/caddy-apoxy/hosts"
	"github.com/apoxy-dev/caddy-apoxy/issuance"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/setup"
	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/damage"
	"github.com/apoxy-dev/caddy-apoxy/timeline"
	"github.com/apoxy-dev/caddy-apoxy/webhook"
)

// verifyPath is where the admin endpoint has the running store looked through.
const verifyPath = "/apoxy/store/verify"

// storeRooms says what the store's values are, and what helps where they cannot
// be used.
func storeRooms() []damage.Room {
	const byItself = "nothing needs to be done: it is left out, and made anew when it is needed next"
	return []damage.Room{
		{Prefix: hosts.Prefix, Check: hosts.Check, Agree: apiserver.RecordAgrees,
			Mend: "delete the record by its name (`caddy apoxy domainrecord delete NAME`) and create it again, or restore a backup"},
		{Prefix: apiserver.HostnamePrefix, Check: apiserver.CheckHostname, Agree: apiserver.HostnameAgrees,
			Mend: "delete the record of this hostname by its name and create it again; if there is none, create one"},
		{Prefix: ownership.ReleasedPrefix, Check: ownership.CheckReleased,
			Mend: "nothing needs to be done: the hostname's next record is verified only by its own token, which takes the place; or restore a backup"},
		{Prefix: dnsprovider.RRSetsPrefix, Check: dnsprovider.CheckRRSet,
			Mend: "put the records into the zone again; a challenge's are put there with the next order"},
		{Prefix: issuance.IndexPrefix, Check: issuance.CheckIndex, Mend: byItself},
		{Prefix: issuance.UploadPrefix, Check: issuance.CheckUpload,
			Mend: "upload the customer's own certificate again (`caddy apoxy domainrecord certificate NAME --cert FILE --key FILE`); until then one is obtained where that can succeed"},
		{Prefix: issuance.LedgerPrefix, Check: issuance.CheckLedger, Mend: byItself},
		{Prefix: certstorage.Prefix, Check: certstorage.Check, Agree: storageAgrees,
			Mend: "a certificate is obtained again where that can succeed; what else Caddy keeps (accounts, its own CA) is made anew or comes from a backup"},
		{Prefix: certstorage.LockPrefix, Check: certstorage.CheckLock, Mend: "nothing needs to be done: the next to take the lock overwrites it"},
		{Prefix: certstorage.KeyPrefix, Check: certstorage.CheckKey,
			Mend: "nothing needs to be done while the encryption key is in the configuration: it is noted anew with the next start"},
		{Prefix: webhook.Prefix, Check: webhook.Check,
			Mend: "nothing needs to be done: what a webhook was to be told is lost, and the value is removed with the next start; the records themselves have it all"},
		{Prefix: timeline.Prefix, Check: timeline.Check,
			Mend: "nothing needs to be done: what became of the record before is forgotten, and its time line begins anew with the next event"},
		{Prefix: setup.Prefix, Check: setup.CheckKey,
			Mend: "nothing needs to be done: another key is made with the next link to a set-up page; links of before have ended"},
	}
}

// storageAgrees tells of a value of storage that a newer version has stored.
func storageAgrees(_ context.Context, _ store.Store, e store.KeyValue) (what, mend string, err error) {
	return certstorage.CheckVersion(e.Value), "update this node's Caddy to the version that the newest node has", nil
}

// When the store is looked through for damage that nobody has met.
const (
	firstPatrol = time.Minute
	patrolEvery = 24 * time.Hour
)

// patrol reads what no room has read at the start, and all there is once a day.
func (rt *runtime) patrol(ctx context.Context) error {
	wait, prefixes := firstPatrol, []string{apiserver.HostnamePrefix, ownership.ReleasedPrefix}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
		for _, prefix := range prefixes {
			if err := rt.store.Patrol(ctx, prefix); err != nil {
				return err
			}
		}
		wait, prefixes = patrolEvery, []string{""}
	}
}

// verifyLine is a line of the answer to verifyPath: the first names the store,
// the last has the sum or an error.
type verifyLine struct {
	Store string        `json:"store,omitempty"`
	Fault *damage.Fault `json:"fault,omitempty"`
	Sum   *damage.Sum   `json:"sum,omitempty"`
	Error string        `json:"error,omitempty"`
}

// verify answers POST verifyPath: it looks through the store in use, a few
// values at a time.
func (rt *runtime) verify(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "verifying the store takes a POST", http.StatusMethodNotAllowed)
		return nil
	}
	if !rt.verifying.TryLock() {
		w.Header().Set("Retry-After", "10")
		http.Error(w, "the store is being looked through already: wait for that to end", http.StatusTooManyRequests)
		return nil
	}
	defer rt.verifying.Unlock()
	w.Header().Set("Content-Type", "application/x-ndjson")
	out := json.NewEncoder(w)
	if err := out.Encode(verifyLine{Store: rt.key}); err != nil {
		return nil // nobody is there to be told
	}
	_ = http.NewResponseController(w).Flush()
	sum, err := damage.Verify(r.Context(), rt.store, storeRooms(), func(f damage.Fault) error {
		return out.Encode(verifyLine{Fault: &f})
	})
	last := verifyLine{Sum: &sum}
	if err != nil {
		last = verifyLine{Error: err.Error()}
	}
	_ = out.Encode(last) // as above
	return nil
}

// maxVerifyLine bounds a line of the answer, in bytes.
const maxVerifyLine = 1 << 16

// verifyOnline has the store of the Caddy at base looked through. It returns
// which store that is.
func verifyOnline(ctx context.Context, client *http.Client, base string, tell func(damage.Fault) error) (store string, sum damage.Sum, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(base, "/")+verifyPath, nil)
	if err != nil {
		return "", sum, fmt.Errorf("asking Caddy at %s: %w", base, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", sum, fmt.Errorf("asking Caddy at %s: %w: is it running? Else name the store with --config or --store", base, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return "", sum, fmt.Errorf("asking Caddy at %s: it answered %s: %.300q", base, resp.Status, strings.TrimSpace(string(text)))
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxVerifyLine)
	for lines.Scan() {
		var l verifyLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return store, sum, fmt.Errorf("reading the answer of Caddy at %s: %w", base, err)
		}
		switch {
		case l.Store != "":
			store = l.Store
		case l.Fault != nil:
			if err := tell(*l.Fault); err != nil {
				return store, sum, err
			}
		case l.Error != "":
			return store, sum, errors.New(l.Error)
		case l.Sum != nil:
			return store, *l.Sum, nil
		}
	}
	return store, sum, errors.Join(fmt.Errorf("the answer of Caddy at %s broke off: try again", base), lines.Err())
}
