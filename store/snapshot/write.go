package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Write writes to w what st holds at its present revision, page by page, so that neither
// memory nor other writers are held. What is ephemeral is left out, and so are damaged
// values, which are named. name is Header.Store, now Header.Time. If the store cannot be
// read to the end, the stream says so. The error then wraps store.ErrExpired if more was
// written meanwhile than the store's history holds, so that another attempt may do, and
// ErrFilling if the store holds a part of what it should.
func Write(ctx context.Context, w io.Writer, st store.Store, name string, now time.Time) (Sum, error) {
	e := encoder{sum: sha256.New()}
	var err error
	e.z, err = zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(window), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return e.count, fmt.Errorf("writing a snapshot: %w", err)
	}
	line := fmt.Sprintf("%s%d\n", magic, version)
	if _, err := io.WriteString(w, line); err != nil {
		return e.count, fmt.Errorf("writing a snapshot: %w", err)
	}
	_, _ = e.sum.Write([]byte(line)) // it never fails
	err = e.all(ctx, st, Header{Store: name, Time: now.UTC().Truncate(time.Second)})
	var unread *unreadError
	switch {
	case errors.As(err, &unread):
		e.failed(unread.err)
	case err == nil:
		err = e.end()
	}
	if closeErr := e.z.Close(); err == nil && closeErr != nil {
		err = closeErr
	}
	if err != nil {
		return e.count, fmt.Errorf("writing a snapshot of %s: %w", name, err)
	}
	return e.count, nil
}

// unreadError is one of the store that is read, in contrast to one of the stream.
type unreadError struct{ err error }

func (e *unreadError) Error() string { return "reading: " + e.err.Error() }
func (e *unreadError) Unwrap() error { return e.err }

type encoder struct {
	z     *zstd.Encoder
	sum   hash.Hash
	head  []byte // the record's bytes before its value
	count Sum
}

// all writes the header and every key-value.
func (e *encoder) all(ctx context.Context, st store.Store, h Header) error {
	if _, err := Whole(ctx, st); err != nil {
		return &unreadError{err}
	}
	w := walker{st: st}
	kv, more, err := w.next(ctx)
	if err != nil {
		return &unreadError{err}
	}
	h.Revision = w.revision
	raw, err := json.Marshal(h)
	if err != nil {
		return err
	}
	for err = e.put(kindHeader, "", raw); err == nil && more; {
		if err = e.keyValue(&kv); err != nil {
			break
		}
		if kv, more, err = w.next(ctx); err != nil {
			return &unreadError{err}
		}
	}
	return err
}

func (e *encoder) keyValue(kv *store.KeyValue) error {
	if len(kv.Key) > maxKey || len(kv.Value) > maxValue {
		return &unreadError{fmt.Errorf("key %.60q: it has %d bytes and its value %d, at most %d and %d are taken: make it smaller or delete it",
			kv.Key, len(kv.Key), len(kv.Value), maxKey, maxValue)}
	}
	if kv.Err != nil {
		reason := kv.Err.Error()
		var damaged *store.DamagedError
		if errors.As(kv.Err, &damaged) {
			reason = damaged.Reason
		}
		e.count.Damaged++
		return e.put(kindDamaged, kv.Key, []byte(reason))
	}
	e.count.Values++
	return e.put(kindValue, kv.Key, kv.Value)
}

func (e *encoder) put(kind byte, key string, value []byte) error {
	e.head = appendHead(e.head[:0], kind, key, len(value))
	_, _ = e.sum.Write(e.head) // neither fails
	_, _ = e.sum.Write(value)
	return e.raw(value)
}

// raw writes head and value past the checksum.
func (e *encoder) raw(value []byte) error {
	if _, err := e.z.Write(e.head); err != nil {
		return err
	}
	_, err := e.z.Write(value)
	return err
}

func (e *encoder) end() error {
	value := binary.BigEndian.AppendUint64(nil, uint64(e.count.Values))
	value = binary.BigEndian.AppendUint64(value, uint64(e.count.Damaged))
	value = e.sum.Sum(value)
	e.head = appendHead(e.head[:0], kindEnd, "", len(value))
	return e.raw(value)
}

// failed tells the reader why nothing more comes.
func (e *encoder) failed(why error) {
	key := ""
	if errors.Is(why, store.ErrExpired) {
		key = keyExpired
	}
	text := why.Error()
	_ = e.put(kindFailed, key, []byte(text[:min(len(text), 1000)])) // else the reader misses the end
}

// appendHead appends what stands before a record's value.
func appendHead(b []byte, kind byte, key string, size int) []byte {
	b = append(b, kind)
	b = binary.AppendUvarint(b, uint64(len(key)))
	b = append(b, key...)
	return binary.AppendUvarint(b, uint64(size))
}
