package issuance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/apoxy-dev/caddy-apoxy/issuance/certfiles"
	"github.com/apoxy-dev/caddy-apoxy/issuance/ownchain"
	"github.com/apoxy-dev/caddy-apoxy/ownership"
	"github.com/apoxy-dev/caddy-apoxy/store"
)

const shopHost = "shop.example.com"

// chainFor is what a customer brings, valid for so long.
func chainFor(t *testing.T, hostname string, serial int64, valid time.Duration) ownchain.Chain {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(serial), DNSNames: []string{hostname}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(valid)}
	tmpl.Subject.CommonName = "Home CA"
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return ownchain.Chain{Certificates: []*x509.Certificate{leaf}, Key: key}
}

func (w *world) upload(uid string, serial int64, valid time.Duration) {
	w.t.Helper()
	if err := w.s.TakeUpload(w.t.Context(), shopHost, uid, chainFor(w.t, shopHost, serial, valid)); err != nil {
		w.t.Fatal(err)
	}
}

// shows waits until the upload is shown for a record, or is not.
func (w *world) shows(uid string, want bool) {
	w.t.Helper()
	w.wait(fmt.Sprintf("the upload being shown to %s: %v", uid, want), func() bool { return w.s.ShowsUpload(shopHost, uid) == want },
		func() string { return fmt.Sprintf("%+v", w.s.Observe(shopHost).Uploaded) })
}

func (w *world) uploadFiles() (all []string) {
	w.t.Helper()
	err := filepath.WalkDir(filepath.Join(w.dir, "storage", "uploads"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

const year = 365 * 24 * time.Hour

func TestAnUploadCountsForItsRecordAloneAndEndsWithIt(t *testing.T) {
	w := newWorld(t)
	w.upload("u1", 1, year)
	w.shows("u1", true)
	if w.s.ShowsUpload(shopHost, "u2") {
		t.Error("another record of the hostname is shown the upload")
	}
	if o := w.s.Observe(shopHost); o.Outcome == ownership.Seen || o.Uploaded == nil || o.Uploaded.SerialNumber != "1" || o.Uploaded.RecordUID != "u1" {
		t.Errorf("told as %+v, %+v: an upload is no certificate that was obtained", o, o.Uploaded)
	}
	w.upload("u1", 2, year)
	if files := w.uploadFiles(); len(files) != 1 {
		t.Errorf("the replaced upload is left: %q", files)
	}
	w.halt()
	w.start()
	w.shows("u1", true)
	if u, ok := w.s.Uploaded(shopHost); !ok || u.UID != "u1" {
		t.Errorf("after a restart there is %+v, %v", u, ok)
	}
	if err := w.s.DropUpload(t.Context(), shopHost, "u2"); !errors.Is(err, ErrNoUpload) {
		t.Errorf("removed by another record: %v", err)
	}
	if err := w.s.DropUpload(t.Context(), shopHost, "u1"); err != nil {
		t.Fatal(err)
	}
	w.shows("u1", false)
	if _, _, err := w.store.Get(t.Context(), UploadPrefix+shopHost); !errors.Is(err, store.ErrNotFound) || len(w.uploadFiles()) != 0 {
		t.Errorf("left behind: %v, %q", err, w.uploadFiles())
	}
	if w.s.Observe(shopHost).Uploaded != nil {
		t.Error("told of what was removed")
	}
}

// The record of before is deleted while the next one already has an upload.
func TestTheNextRecordsUploadOutlivesTheEndOfTheOneBefore(t *testing.T) {
	w := newWorld(t)
	w.upload("u1", 1, year)
	w.upload("u2", 2, year)
	if err := w.s.DropUpload(t.Context(), shopHost, "u1"); !errors.Is(err, ErrNoUpload) {
		t.Errorf("removing that of the record before: %v", err)
	}
	w.shows("u2", true)
	w.advance(2 * time.Minute)
	w.s.SweepUploads(t.Context(), func(_, uid string) bool { return uid == "u2" })
	w.shows("u2", true)
	w.s.SweepUploads(t.Context(), func(string, string) bool { return false })
	w.shows("u2", false)
	if files := w.uploadFiles(); len(files) != 0 {
		t.Errorf("left behind: %q", files)
	}
}

func TestNothingIsOrderedWhileAVerifiedRecordHasAnUpload(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate(shopHost)
	w.dns.delegate("other.example.com")
	w.upload("u1", 1, year)
	w.s.Want(Want{Hostname: shopHost, UID: "u1", DNS01: true, Verified: true})
	w.s.Retry(shopHost) // as `check` does
	w.s.Want(Want{Hostname: "other.example.com", UID: "o1", DNS01: true})
	w.until("other.example.com", "is issued", seen)
	if n := w.ca.Placed(); n != 1 {
		t.Errorf("%d orders were placed, want one: the uploaded certificate lasts for long", n)
	}
	if err := w.s.DropUpload(t.Context(), shopHost, "u1"); err != nil {
		t.Fatal(err)
	}
	w.until(shopHost, "is issued once the upload is removed", seen)
}

// An upload is no proof, so that a record which is not verified gets the certificate that
// may verify it.
func TestAnUploadKeepsNoRecordFromBeingVerified(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate(shopHost)
	w.upload("u1", 1, year)
	w.s.Want(Want{Hostname: shopHost, UID: "u1", DNS01: true})
	w.until(shopHost, "is issued", seen)
	w.shows("u1", true)
}

func TestOneIsObtainedNearTheEndAndTakesOver(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate(shopHost)
	w.upload("u1", 1, year)
	w.s.Want(Want{Hostname: shopHost, UID: "u1", DNS01: true, Verified: true})
	w.ca.Lifetime = 2 * year
	w.advance(year - 31*24*time.Hour)
	w.shows("u1", true)
	if n := w.ca.Placed(); n != 0 {
		t.Errorf("%d orders 31 days before the end", n)
	}
	w.advance(20 * 24 * time.Hour)
	w.until(shopHost, "is issued", seen)
	w.shows("u1", false)
	o := w.until(shopHost, "is told", func(o ownership.CertificateObservation) bool { return o.Uploaded != nil && o.Uploaded.Replaced })
	if o.SerialNumber == "" {
		t.Errorf("told as %+v", o)
	}
	select {
	case e := <-w.expire:
		t.Errorf("warned of what is replaced: %+v", e)
	default:
	}
}

func TestItIsWarnedOnceEachTimeWhereNothingTakesOver(t *testing.T) {
	w := newWorld(t)
	w.upload("u1", 1, year)
	w.s.Want(Want{Hostname: shopHost, UID: "u1", Verified: true})
	next := func(days int) {
		t.Helper()
		select {
		case e := <-w.expire:
			if e.Days != days || e.UID != "u1" || e.Hostname != shopHost || e.Message == "" {
				t.Errorf("warned with %+v, want %d days", e, days)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("not warned %d days before the end", days)
		}
	}
	w.advance(year - 29*24*time.Hour)
	next(30)
	w.halt()
	w.start()
	w.s.Want(Want{Hostname: shopHost, UID: "u1", Verified: true})
	w.advance(17 * 24 * time.Hour)
	next(14)
	w.advance(11 * 24 * time.Hour)
	next(3)
	w.shows("u1", true)
	w.advance(2 * 24 * time.Hour)
	w.shows("u1", false)
	w.wait("the change being told", func() bool { o := w.s.Observe(shopHost); return o.Uploaded != nil }, func() string { return "nothing" })
	w.advance(keepExpired)
	w.wait("the expired upload being removed", func() bool { return len(w.uploadFiles()) == 0 && w.s.Observe(shopHost).Uploaded == nil },
		func() string { return fmt.Sprint(w.uploadFiles()) })
	if n := len(w.expire); n != 0 {
		t.Errorf("%d warnings too many", n)
	}
}

// Files may be removed, or a volume not mounted: then one is obtained, and what was
// uploaded counts again once it is found.
func TestAMissingUploadIsNoticedAndFoundAgain(t *testing.T) {
	w := newWorld(t)
	w.dns.delegate(shopHost)
	w.upload("u1", 1, year)
	w.s.Want(Want{Hostname: shopHost, UID: "u1", DNS01: true, Verified: true})
	file := w.uploadFiles()[0]
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	u, _ := w.s.Uploaded(shopHost)
	w.s.UploadMissing(certfiles.Upload{Hostname: shopHost, UID: "u1", Sum: "another"}) // a handshake that read an older index
	w.shows("u1", true)
	w.s.UploadMissing(u)
	w.shows("u1", false)
	w.until(shopHost, "is issued", seen)
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	w.s.Stored(t.Context(), shopHost)
	w.shows("u1", true)
}

// Another node has taken an upload, or its end, into store and storage.
func TestUploadsOfOtherNodesAreTakenOver(t *testing.T) {
	w := newWorld(t)
	w.upload("u1", 1, year)
	kv, _, err := w.store.Get(t.Context(), UploadPrefix+shopHost)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.store.Write(t.Context(), store.Op{Key: UploadPrefix + shopHost, If: store.Any}); err != nil {
		t.Fatal(err)
	}
	w.shows("u1", false)
	if _, err := w.store.Write(t.Context(), store.Op{Key: UploadPrefix + shopHost, Value: kv.Value, If: store.Any}); err != nil {
		t.Fatal(err)
	}
	w.shows("u1", true)
	if err := CheckUpload(UploadPrefix+shopHost, kv.Value); err != nil {
		t.Error(err)
	}
	if CheckUpload(UploadPrefix+shopHost, []byte(`{"uid":"u1"}`)) == nil || CheckUpload(UploadPrefix+shopHost, []byte(`x`)) == nil {
		t.Error("what is no upload passes for one")
	}
}

func TestWithoutIssuersNothingIsTaken(t *testing.T) {
	s := New(Config{})
	if err := s.TakeUpload(t.Context(), shopHost, "u1", chainFor(t, shopHost, 1, year)); !errors.Is(err, ErrNoIssuers) {
		t.Errorf("got %v", err)
	}
}
