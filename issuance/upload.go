package issuance

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/internal/times"
	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
)

// UploadPrefix holds, in the store, one upload per hostname: the index of the
// certificates that customers brought. Chain and key are in Caddy's storage.
const UploadPrefix = "uploads/"

// upload is a certificate that a customer brought. It stands beside the dossier, and not
// in it, so that neither an order under way nor what is obtained touches it, and it is
// never taken for proof. Times are Unix seconds, 0 for none.
type upload struct {
	// UID is that of the DomainRecord that it is for. It counts for no other.
	UID string `json:"uid"`
	// Sum identifies the chain, see certfiles.SumOf.
	Sum string `json:"sum"`
	// Issuer and Serial as in a dossier. Renewal is from when on one is obtained in its
	// place.
	Issuer    string `json:"issuer,omitempty"`
	Serial    string `json:"serial"`
	NotBefore int64  `json:"notBefore"`
	NotAfter  int64  `json:"notAfter"`
	Renewal   int64  `json:"renewal"`
	// At is when it was uploaded.
	At int64 `json:"at"`
	// Warned is of how many days before its end was warned last.
	Warned int `json:"warned,omitempty"`
	// Lost is since when storage lacks it.
	Lost int64 `json:"lost,omitempty"`

	revision int64 // of the store's copy
	tended   int64 // until when what it has come to was acted on
}

// uploadWindow is how long before the end of an upload another certificate is obtained,
// at most.
const uploadWindow = 30 * 24 * time.Hour

// uploadRenewal is from when on another certificate is obtained: as if it were one of ours,
// but 30 days before its end at the earliest, because customers pay for the whole.
func uploadRenewal(notBefore, notAfter time.Time, seed string) time.Time {
	usual := renewalTime(notBefore, notAfter, 0, (&dossier{}).window(), seed)
	return times.Later(usual, notAfter.Add(-uploadWindow))
}

// file is where the upload lies in storage.
func (u *upload) file(hostname string) certfiles.Upload {
	return certfiles.Upload{Hostname: hostname, UID: u.UID, Sum: u.Sum}
}

// usable reports whether the upload could be shown.
func (u *upload) usable(now time.Time) bool {
	return u != nil && u.Lost == 0 && now.Before(times.Unix(u.NotAfter))
}

// replaced reports whether the certificate that was obtained has taken the upload's place:
// near its end, once there is one that ends later.
func (e *entry) replaced(now time.Time) bool {
	u := e.upload()
	return !now.Before(times.Unix(u.Renewal)) && e.outlives(u)
}

// outlives reports whether there is a certificate that counts and ends after the upload.
func (e *entry) outlives(u *upload) bool {
	_, notAfter := e.times()
	return e.proven() && !e.gone() && notAfter > u.NotAfter
}

// inForce is the upload that is shown for a record's uid, nil for none.
func (e *entry) inForce(uid string, now time.Time) *upload {
	if u := e.upload(); u.usable(now) && u.UID == uid && !e.replaced(now) {
		return u
	}
	return nil
}

// sparedByUpload is until when nothing is ordered because of the upload; zero: it keeps
// nothing from being ordered.
func (e *entry) sparedByUpload(now time.Time) time.Time {
	if u := e.upload(); u.usable(now) && e.wanted && e.loose.want.Verified && u.UID == e.loose.want.UID {
		return times.Unix(u.Renewal)
	}
	return time.Time{}
}

// uploaded is what Observe tells of the upload, nil for none.
func (e *entry) uploaded(now time.Time) *ownership.UploadedCertificate {
	u := e.upload()
	if u == nil {
		return nil
	}
	return &ownership.UploadedCertificate{
		RecordUID: u.UID, Issuer: u.Issuer, SerialNumber: u.Serial, NotBefore: times.Unix(u.NotBefore), NotAfter: times.Unix(u.NotAfter),
		RenewalTime: times.Unix(u.Renewal), Gone: times.Unix(u.Lost), Replaced: e.replaced(now),
	}
}

// uploadDue is when the upload has come to something that is to be acted on, zero: never.
func (e *entry) uploadDue(now time.Time) time.Time {
	u := e.upload()
	if u == nil {
		return time.Time{}
	}
	end := times.Unix(u.NotAfter)
	if !now.Before(end.Add(keepExpired)) {
		return now
	}
	if e.warning(now) != 0 {
		if e.wanted {
			return now
		}
		return times.Later(now, time.Unix(0, e.since).Add(time.Minute)) // records are read after the index
	}
	moments := []time.Time{times.Unix(u.Renewal), end, end.Add(keepExpired)}
	for _, days := range ownership.UploadWarnings {
		moments = append(moments, end.Add(-time.Duration(days)*24*time.Hour))
	}
	var next time.Time
	for _, m := range moments {
		if m.Unix() > u.tended && (next.IsZero() || m.Before(next)) {
			next = m
		}
	}
	return next
}

// warning is of how many days before the upload's end is to be warned now, 0 for none. It
// is not warned of what is replaced, or about to be as far as is known.
func (e *entry) warning(now time.Time) (days int) {
	u := e.upload()
	if !u.usable(now) || e.outlives(u) {
		return 0
	}
	days = ownership.UploadWarning(times.Unix(u.NotAfter), now)
	if u.Warned != 0 && u.Warned <= days || e.wanted && e.possible() && !e.trouble().visible() {
		return 0
	}
	return days
}

func (u *upload) marshal() []byte {
	b, _ := json.Marshal(u) // cannot fail: plain fields only
	return b
}

// CheckUpload says why the value at a key below UploadPrefix is no upload; nil: it is one.
func CheckUpload(key string, value []byte) error {
	_, _, err := decodeUpload(key, value)
	return err
}

func decodeUpload(key string, value []byte) (hostname string, u upload, err error) {
	hostname = strings.TrimPrefix(key, UploadPrefix)
	if err = json.Unmarshal(value, &u); err != nil {
		return hostname, u, fmt.Errorf("decoding %s: %w", key, err)
	}
	if u.UID == "" || u.Sum == "" || u.NotAfter == 0 {
		return hostname, u, fmt.Errorf("decoding %s: it names no record, no certificate or no end", key)
	}
	return hostname, u, nil
}
