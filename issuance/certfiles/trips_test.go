package certfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"io/fs"
	"testing"
	"testing/synctest"
	"time"
)

func TestAnswersAreHandedOutOnceAndToTheirHandshake(t *testing.T) {
	var ts trips
	mine, other := &tls.ClientHelloInfo{}, &tls.ClientHelloInfo{}
	ts.put(t.Context(), mine, trip{answers: map[string][]byte{"a": []byte("1"), "b": nil}, staple: "-cafe"})
	if _, _, ok := ts.take(other, "a"); ok {
		t.Error("another handshake gets it")
	}
	if _, _, ok := ts.take(nil, "a"); ok {
		t.Error("no handshake gets it")
	}
	if v, err, ok := ts.take(mine, "a"); !ok || err != nil || string(v) != "1" {
		t.Errorf("%q, %v, %v", v, err, ok)
	}
	if _, _, ok := ts.take(mine, "a"); ok {
		t.Error("handed out twice")
	}
	if v, err, ok := ts.take(mine, "b"); !ok || !errors.Is(err, fs.ErrNotExist) || v != nil {
		t.Errorf("%q, %v, %v", v, err, ok)
	}
	for _, key := range []string{"ocsp/a-beef", "x/a-cafe"} {
		if _, _, ok := ts.take(mine, key); ok {
			t.Errorf("%s is taken for the staple", key)
		}
	}
	if _, err, ok := ts.take(mine, "ocsp/a.example.com-cafe"); !ok || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v, %v", err, ok)
	}
	if len(ts.of) != 0 {
		t.Errorf("%d are kept", len(ts.of))
	}
}

func TestAnswersGoWithTheHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts trips
		ctx, cancel := context.WithCancel(context.Background())
		hello := &tls.ClientHelloInfo{}
		ts.put(ctx, hello, trip{answers: map[string][]byte{"a": nil}})
		ts.put(ctx, hello, trip{answers: map[string][]byte{"b": nil}})
		if _, _, ok := ts.take(hello, "a"); ok {
			t.Error("an answer outlives its read")
		}
		cancel()
		synctest.Wait()
		if _, _, ok := ts.take(hello, "b"); ok {
			t.Error("an answer outlives its handshake")
		}
	})
}

func TestAnswersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts trips
		put := func() *tls.ClientHelloInfo {
			hello := &tls.ClientHelloInfo{}
			ts.put(context.Background(), hello, trip{answers: map[string][]byte{"a": nil}}) // and never taken
			return hello
		}
		for range maxTrips {
			put()
		}
		if _, _, ok := ts.take(put(), "a"); ok || len(ts.of) != maxTrips {
			t.Errorf("%d are kept", len(ts.of))
		}
		time.Sleep(tripAge + time.Second) // of the bubble's clock
		if _, _, ok := ts.take(put(), "a"); !ok || len(ts.of) > 1 {
			t.Errorf("what is old makes no room: %d are kept", len(ts.of))
		}
	})
}
