package timeline

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// version is the first byte of a value of the store, which is
//
//	byte     version, 1
//	text     the hostname
//	uvarint  when the record was created, Unix seconds; 0: not known
//	events   to the end
//
// an event
//
//	byte     which of the following it has: 1 from, 2 to, 4 reason, 8 message, 16 count
//	varint   seconds since the event before or, of the first, since the creation
//	word     type, from, to, reason
//	text     message
//	uvarint  count, and seconds from the first time to the last
//
// a word the uvarint of its place in known or, for another, 0 and a text; and a text the
// uvarint of its length and its bytes (encoding/binary has both varints).
const version = 1

const (
	hasFrom = 1 << iota
	hasTo
	hasReason
	hasMessage
	hasCount
	hasMore // what only later versions know
)

const (
	// maxTime is the last second of the year 9999 (RFC 3339 has no later).
	maxTime  = 253402300799
	maxCount = math.MaxInt32
	// maxValue bounds what is decoded, in bytes, and maxEvents the events of a value:
	// another version may keep more than Most.
	maxValue, maxEvents = 1 << 18, 1 << 10
)

var (
	errBroken = errors.New("decoding a time line: it breaks off or is none")
	// ErrNewer: a later version wrote it.
	ErrNewer = errors.New("decoding a time line: it is of a later version")
)

// encode is how a line is kept.
func encode(l *Line) []byte {
	out := appendText(append(make([]byte, 0, 32+len(l.Hostname)+16*len(l.Events)), version), l.Hostname)
	before := int64(0)
	if !l.Created.IsZero() {
		before = l.Created.Unix()
	}
	out = binary.AppendUvarint(out, uint64(before))
	for i := range l.Events {
		e := &l.Events[i]
		out = append(out, e.fields())
		out = binary.AppendVarint(out, e.At.Unix()-before)
		before = e.At.Unix()
		out = appendWord(out, e.Type)
		for _, w := range [...]string{e.From, e.To, e.Reason} {
			if w != "" {
				out = appendWord(out, w)
			}
		}
		if e.Message != "" {
			out = appendText(out, e.Message)
		}
		if e.Count > 1 {
			out = binary.AppendUvarint(out, uint64(e.Count))
			out = binary.AppendUvarint(out, uint64(e.Last.Unix()-e.At.Unix()))
		}
	}
	return out
}

func (e *Event) fields() (f byte) {
	for i, has := range [...]bool{e.From != "", e.To != "", e.Reason != "", e.Message != "", e.Count > 1} {
		if has {
			f |= 1 << i
		}
	}
	return f
}

func appendText(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

func appendWord(out []byte, w string) []byte {
	if at := places[w]; at > 0 {
		return binary.AppendUvarint(out, at)
	}
	return appendText(append(out, 0), w)
}

// decode reads what encode wrote. Errors: ErrNewer, or what is damaged.
func decode(value []byte) (l Line, err error) {
	if len(value) == 0 || len(value) > maxValue {
		return l, errBroken
	}
	if value[0] != version {
		return l, fmt.Errorf("%w: %d", ErrNewer, value[0])
	}
	r := reader{rest: value[1:]}
	l.Hostname = r.text(maxWord * 4)
	before := r.time(0, r.uvarint())
	if before != 0 {
		l.Created = time.Unix(before, 0).UTC()
	}
	for len(r.rest) > 0 && r.err == nil {
		if len(l.Events) == maxEvents {
			return Line{}, errBroken
		}
		var e Event
		e, before = r.event(before)
		l.Events = append(l.Events, e)
	}
	if r.err != nil {
		return Line{}, r.err
	}
	return l, nil
}

// reader takes a value apart. After an error it returns nothing but that.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.rest = nil
}

func (r *reader) event(before int64) (e Event, at int64) {
	fields := r.byte()
	if fields >= hasMore {
		r.fail(ErrNewer)
	}
	since, n := binary.Varint(r.rest)
	if n <= 0 || since < -maxTime || since > maxTime {
		r.fail(errBroken)
		return e, before
	}
	r.rest = r.rest[n:]
	at = r.time(before+since, 0)
	e.At = time.Unix(at, 0).UTC()
	e.Count, e.Last, e.Type = 1, e.At, r.word()
	for _, w := range [...]struct {
		has  byte
		word *string
	}{{hasFrom, &e.From}, {hasTo, &e.To}, {hasReason, &e.Reason}} {
		if fields&w.has != 0 {
			*w.word = r.word()
		}
	}
	if fields&hasMessage != 0 {
		e.Message = r.text(maxMessage)
	}
	if fields&hasCount != 0 {
		count := r.uvarint()
		if count < 2 || count > maxCount {
			r.fail(errBroken)
			return e, at
		}
		e.Count, e.Last = int(count), time.Unix(r.time(at, r.uvarint()), 0).UTC()
	}
	return e, at
}

func (r *reader) byte() (b byte) {
	if len(r.rest) == 0 {
		r.fail(errBroken)
		return 0
	}
	b, r.rest = r.rest[0], r.rest[1:]
	return b
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail(errBroken)
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// time is a point so many seconds after another.
func (r *reader) time(from int64, after uint64) int64 {
	if from < 0 || from > maxTime || after > uint64(maxTime-from) {
		r.fail(errBroken)
		return 0
	}
	return from + int64(after)
}

// text reads a text of most bytes at most.
func (r *reader) text(most int) string {
	n := r.uvarint()
	if n > uint64(len(r.rest)) || n > uint64(most) || !utf8.Valid(r.rest[:n]) {
		r.fail(errBroken)
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

func (r *reader) word() string {
	switch at := r.uvarint(); {
	case at > uint64(len(known)):
		r.fail(ErrNewer)
		return ""
	case at > 0:
		return known[at-1]
	}
	w := r.text(maxWord)
	if w == "" {
		r.fail(errBroken)
	}
	return w
}

// Prefix is what the keys begin with; a record's ends with its uid.
const Prefix = "timelines/"

// maxUID bounds a uid, in bytes: those that the API makes have 36.
const maxUID = 128

// usable reports whether a uid can be a key.
func usable(uid string) bool { return uid != "" && len(uid) <= maxUID }

// Check says why the value at a key below Prefix is no time line; nil: it is one.
func Check(key string, value []byte) error {
	if !usable(strings.TrimPrefix(key, Prefix)) {
		return errors.New("decoding a time line: the key has no uid")
	}
	_, err := decode(value)
	return err
}
