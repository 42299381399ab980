package snapshot

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/apoxy-dev/caddy-apoxy/store"
)

// Entry is a key of a stream.
type Entry struct {
	Key   string
	Value []byte
	// Damaged says why the value was left out; empty: it is there.
	Damaged string
}

// Reader reads a stream. NewReader makes one.
type Reader struct {
	z      *zstd.Decoder
	in     *bufio.Reader // what z gives
	sum    hash.Hash
	head   []byte // scratch
	header Header
	count  Sum
	last   string // key
	end    error  // what Next returns from now on
}

// NewReader begins to read a stream from r. The error wraps ErrBroken or ErrNewer if it
// is none that can be read. The Reader must be closed.
func NewReader(r io.Reader) (*Reader, error) {
	raw := bufio.NewReaderSize(r, 1<<16)
	line, err := firstLine(raw)
	if err != nil {
		return nil, err
	}
	d := &Reader{sum: sha256.New()}
	_, _ = d.sum.Write([]byte(line)) // it never fails
	d.z, err = zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8*window), zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, broken(err)
	}
	d.in = bufio.NewReader(d.z)
	if err := d.begin(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// firstLine reads the line that names the format, and refuses what is another.
func firstLine(r *bufio.Reader) (string, error) {
	head, err := r.Peek(maxLine)
	if len(head) == 0 && err != nil && !errors.Is(err, io.EOF) {
		return "", broken(err)
	}
	end := bytes.IndexByte(head, '\n')
	number, ours := strings.CutPrefix(string(head[:max(end, 0)]), magic)
	if !ours {
		return "", fmt.Errorf("%w: it does not begin as one does", ErrBroken)
	}
	switch v, err := strconv.Atoi(number); {
	case err != nil || v < 1:
		return "", fmt.Errorf("%w: its version reads %.20q", ErrBroken, number)
	case v > version:
		return "", fmt.Errorf("%w: its version is %d, this program knows up to %d: use the version that wrote it", ErrNewer, v, version)
	}
	_, err = r.Discard(end + 1)
	return magic + number + "\n", err
}

func broken(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it was cut off", ErrBroken)
	}
	return fmt.Errorf("%w: %w", ErrBroken, err)
}

// begin reads the header.
func (d *Reader) begin() error {
	kind, key, value, err := d.record()
	switch {
	case err != nil:
		return err
	case kind == kindFailed:
		return gaveUp(key, value)
	case kind != kindHeader:
		return fmt.Errorf("%w: its header is missing", ErrBroken)
	}
	if err := json.Unmarshal(value, &d.header); err != nil {
		return fmt.Errorf("%w: its header: %w", ErrBroken, err)
	}
	if r := d.header.Revision; r < store.FirstRevision || r > maxRevision {
		return fmt.Errorf("%w: its header says revision %d", ErrBroken, r)
	}
	return nil
}

// Header is what the stream was made of.
func (d *Reader) Header() Header { return d.header }

// Sum is what was read as yet.
func (d *Reader) Sum() Sum { return d.count }

// Close releases what reading holds.
func (d *Reader) Close() { d.z.Close() }

// Next returns the next key, or io.EOF when all were read and the checksum held.
func (d *Reader) Next() (Entry, error) {
	if d.end != nil {
		return Entry{}, d.end
	}
	e, err := d.entry()
	d.end = err
	return e, err
}

func (d *Reader) entry() (Entry, error) {
	kind, key, value, err := d.record()
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Key: key}
	switch kind {
	case kindValue:
		e.Value = value
		d.count.Values++
	case kindDamaged:
		e.Damaged = cmp.Or(string(value), "it was damaged")
		d.count.Damaged++
	case kindEnd:
		return Entry{}, d.atEnd(value)
	case kindFailed:
		return Entry{}, gaveUp(key, value)
	default:
		return Entry{}, fmt.Errorf("%w: a record of the unknown kind %q", ErrBroken, kind)
	}
	if key <= d.last {
		return Entry{}, fmt.Errorf("%w: key %.200q comes after %.200q", ErrBroken, key, d.last)
	}
	d.last = key
	return e, nil
}

// gaveUp is the error of a record of kindFailed.
func gaveUp(key string, why []byte) error {
	if key == keyExpired {
		return fmt.Errorf("%w: more was written while it was read than the store's history holds: %w", ErrBroken, store.ErrExpired)
	}
	return fmt.Errorf("%w: whoever wrote it had to give up: %s", ErrBroken, why)
}

// atEnd judges the last record, given its value.
func (d *Reader) atEnd(value []byte) error {
	want := binary.BigEndian.AppendUint64(nil, uint64(d.count.Values))
	want = binary.BigEndian.AppendUint64(want, uint64(d.count.Damaged))
	if !bytes.Equal(value, d.sum.Sum(want)) {
		return fmt.Errorf("%w: its checksum does not hold", ErrBroken)
	}
	switch _, err := d.in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: something follows its end", ErrBroken)
	case !errors.Is(err, io.EOF):
		return broken(err)
	}
	return io.EOF
}

// record reads the next record.
func (d *Reader) record() (kind byte, key string, value []byte, err error) {
	if kind, err = d.in.ReadByte(); err != nil {
		return 0, "", nil, broken(err)
	}
	rawKey, err := d.bytes(maxKey)
	if err != nil {
		return 0, "", nil, err
	}
	if value, err = d.bytes(maxValue); err != nil {
		return 0, "", nil, err
	}
	if kind != kindEnd { // which has the sum of what was before
		d.head = appendHead(d.head[:0], kind, string(rawKey), len(value))
		_, _ = d.sum.Write(d.head) // neither fails
		_, _ = d.sum.Write(value)
	}
	return kind, string(rawKey), value, nil
}

// bytes reads a length and so many bytes, which are no more than most. Memory grows
// with what is really there, not with what the length says.
func (d *Reader) bytes(most uint64) ([]byte, error) {
	n, err := binary.ReadUvarint(d.in)
	if err != nil {
		return nil, broken(err)
	}
	if n > most {
		return nil, fmt.Errorf("%w: a length of %d bytes, where %d is the most", ErrBroken, n, most)
	}
	if n <= 1<<16 {
		b := make([]byte, n)
		_, err := io.ReadFull(d.in, b)
		if err != nil {
			return nil, broken(err)
		}
		return b, nil
	}
	var b bytes.Buffer
	if _, err := io.CopyN(&b, d.in, int64(n)); err != nil {
		return nil, broken(err)
	}
	return b.Bytes(), nil
}

// Check reads a stream to its end and calls tell, unless that is nil, with each key whose
// value is not in it, and why. Without an error the stream is whole.
func Check(ctx context.Context, r io.Reader, tell func(key, reason string)) (Header, Sum, error) {
	d, err := NewReader(r)
	if err != nil {
		return Header{}, Sum{}, err
	}
	defer d.Close()
	for {
		e, err := d.Next()
		switch {
		case errors.Is(err, io.EOF):
			return d.header, d.count, nil
		case err == nil:
			err = ctx.Err()
		}
		if err != nil {
			return d.header, d.count, err
		}
		if e.Damaged != "" && tell != nil {
			tell(e.Key, e.Damaged)
		}
	}
}
