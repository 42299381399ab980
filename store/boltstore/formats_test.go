package boltstore_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/apoxy-dev/caddy-apoxy/store"
	"github.com/apoxy-dev/caddy-apoxy/store/boltstore"
)

// format2 makes a file that a program wrote which knew nothing of format 3, at revision 15.
// Four records were written three times, each with the key of its hostname, at the revisions
// 2 to 13; at 14 the fourth was deleted.
func format2(t *testing.T) (path string) {
	t.Helper()
	f, err := os.Open("testdata/format2.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "apoxy.db")
	write(t, path, data)
	return path
}

// look is the value that the i-th write of it gave a record.
func look(i int) string {
	return fmt.Sprintf(`{"kind":"DomainRecord","metadata":{"name":"host-%d.example"},"status":{"phase":"Pending","message":"%s"}}`, i%4, strings.Repeat(fmt.Sprint("look ", i, ", "), 30))
}

// asWritten compares what a store says of every revision with what was written into format2.
func asWritten(t *testing.T, s store.Store) {
	t.Helper()
	for rev := int64(1); rev <= 15; rev++ {
		res, err := s.List(t.Context(), "domainrecords/", store.ListOptions{Revision: rev})
		if err != nil {
			t.Fatalf("at revision %d: %v", rev, err)
		}
		want := map[string]string{}
		for i := range int(min(rev, 13)) - 1 {
			want[fmt.Sprintf("domainrecords/host-%d.example", i%4)] = look(i)
		}
		if rev >= 14 {
			delete(want, "domainrecords/host-3.example")
		}
		for _, kv := range res.KeyValues {
			if kv.Err != nil || string(kv.Value) != want[kv.Key] {
				t.Errorf("at revision %d %s is %.100q, %v; want %.100q", rev, kv.Key, kv.Value, kv.Err, want[kv.Key])
			}
			delete(want, kv.Key)
		}
		if len(want) != 0 {
			t.Errorf("at revision %d these are missing: %v", rev, want)
		}
	}
}

func TestTheHistoryGoesOnOverFormats(t *testing.T) {
	path := format2(t)
	reader := openAt(t, path, boltstore.Options{ReadOnly: true})
	asWritten(t, reader)
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	// Now, while it is brought on, when that is done, and afterwards: with changes of both
	// formats in the history.
	for round := range 3 {
		s := openAt(t, path, boltstore.Options{})
		asWritten(t, s)
		for done := round == 0; !done; {
			done = s.BroughtOn()
		}
		asWritten(t, s)
		rev := mustWrite(t, s, set("domainrecords/host-0.example", look(100+4*round)))
		w, err := s.Watch(t.Context(), "domainrecords/host-0", rev-1)
		if err != nil {
			t.Fatal(err)
		}
		before := look(8)
		if round > 0 {
			before = look(96 + 4*round)
		}
		if b, err := w.Next(t.Context()); err != nil || len(b.Events) != 1 || string(b.Events[0].Previous) != before || string(b.Events[0].Value) != look(100+4*round) {
			t.Errorf("round %d: %+v, %v", round, b, err)
		}
		asWritten(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left, said := outdated(t, path); left != 0 || !said {
		t.Errorf("%d values are not brought on, and the file says %v", left, said)
	}
	packedChanges := 0
	bolt(t, path, func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte("history")).ForEach(func(_, raw []byte) error {
			if raw[4]&8 != 0 {
				packedChanges++
			}
			return nil
		})
	})
	if packedChanges == 0 {
		t.Error("no change in the history is packed")
	}
}
